import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  unlinkSync,
  type Stats,
} from 'node:fs';
import { dirname } from 'node:path';
import { SallyportError, type ErrorCode } from '../core/errors.ts';
import { makeFolder } from './make-folder.ts';
import { outOfFiles } from './out-of-files.ts';
import { isDiskFull, writeWhole } from './write-whole.ts';

/**
 * Reads a file that holds a secret. A mode or owner that lets others read it is refused with the command that
 * mends it; `undefined` where there is no such file.
 * @throws SallyportError `KEY_FILE_MODE`, `KEY_FILE_INVALID`, `CONFIG_INVALID`
 */
export function readPrivateFile(path: string): string | undefined {
  const stat = attempt('read', path, () => lstatSync(path, { throwIfNoEntry: false }));
  if (!stat) return undefined;
  if (!stat.isFile()) throw new SallyportError('KEY_FILE_INVALID', `${path} is not a regular file`);
  checkPrivate(path, stat);
  return attempt('read', path, () => readFileSync(path, 'utf8'));
}

/** @throws SallyportError `KEY_FILE_MODE`, with the command that mends it, where others may read the file */
export function checkPrivate(path: string, { mode, uid }: Pick<Stats, 'mode' | 'uid'>): void {
  if (process.platform === 'win32') return;
  if ((mode & 0o077) !== 0) {
    const octal = (mode & 0o777).toString(8);
    throw new SallyportError('KEY_FILE_MODE', `${path} has mode ${octal}: others may read it`, {
      hint: `run: chmod 600 ${path}`,
    });
  }
  const user = process.getuid?.();
  if (user !== undefined && uid !== user) {
    throw new SallyportError('KEY_FILE_MODE', `${path} belongs to another user (uid ${uid})`, {
      hint: `run: chown ${user} ${path}`,
    });
  }
}

/**
 * Adds a line at the end, in one write: two processes that do so at once lose nothing of one another's. Where the disk is full, what
 * did fit is taken away again: half a line could say something else.
 */
export function appendPrivateLine(path: string, line: string): void {
  attempt('write', path, () => {
    makeFolder(dirname(path), 0o700);
    const file = openSync(path, 'a+', 0o600);
    try {
      const last = Buffer.from('\n');
      const { size } = fstatSync(file);
      if (size > 0) readSync(file, last, 0, 1, size - 1);
      const bytes = Buffer.from(`${last.toString() === '\n' ? '' : '\n'}${line}\n`);
      try {
        writeWhole(file, bytes);
        fsyncSync(file);
      } catch (cause) {
        if (fstatSync(file).size <= size + bytes.length) ftruncateSync(file, size); // beyond, another's line begins
        throw cause;
      }
    } finally {
      closeSync(file);
    }
  });
}

/** Writes whole or not at all: a temporary file of mode 0600 beside it, synced, then renamed over it. */
export function writePrivateFile(path: string, text: string): void {
  place(path, text, renameSync);
}

/** The same where there is none yet. Of processes that do so at once one makes the file, and the others leave it alone. */
export function createPrivateFile(path: string, text: string): void {
  place(path, text, (temporary) => {
    try {
      linkSync(temporary, path);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code !== 'EEXIST') return renameSync(temporary, path); // a file system without links
    }
    unlinkSync(temporary);
  });
}

function place(path: string, text: string, put: (temporary: string, path: string) => void): void {
  attempt('write', path, () => {
    makeFolder(dirname(path), 0o700);
    const temporary = `${path}.${randomBytes(6).toString('hex')}`;
    try {
      fill(temporary, text);
      put(temporary, path);
    } catch (cause) {
      rmSync(temporary, { force: true });
      throw cause;
    }
  });
}

function fill(path: string, text: string): void {
  const file = openSync(path, 'wx', 0o600);
  try {
    writeWhole(file, Buffer.from(text));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function attempt<Result>(what: 'read' | 'write', path: string, act: () => Result): Result {
  try {
    return act();
  } catch (cause) {
    throw accessFailure(what, path, cause);
  }
}

/** Why a file of the home folder can't be read or written: `DISK_FULL`, `LIMIT`, else `CONFIG_INVALID`. */
export function accessFailure(what: 'read' | 'write', path: string, cause: unknown): SallyportError {
  const tooMany = outOfFiles(cause);
  if (tooMany) return tooMany;
  const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
  const [code, remedy]: [ErrorCode, string] = isDiskFull(cause)
    ? ['DISK_FULL', 'make room']
    : ['CONFIG_INVALID', why === 'ENOTDIR' ? 'a file stands where a folder should' : 'check its folder'];
  const hint = `${remedy}, or choose another with --home`;
  return new SallyportError(code, `can't ${what} ${path} (${why})`, { hint, cause });
}
