import { constants } from 'node:fs';
import { chmod, link, lstat, mkdir, open, realpath, rename, unlink, type FileHandle } from 'node:fs/promises';
import { createHash, type Hash } from 'node:crypto';
import { join } from 'node:path';
import { SallyportError } from '../../src/core/errors.ts';
import { checkPath, partName, pathText } from '../../src/core/transfer/name.ts';
import { fileFailure } from './failure.ts';

/** A place for one file: where it grows, and where it is once it is whole. */
export interface Place {
  readonly final: string;
  readonly part: string;
  readonly text: string;
}

/** The folder that received files go to. Nothing that a sender names leads out of it. */
export class TargetFolder {
  readonly #root: string;
  readonly #overwrite: boolean;

  private constructor(root: string, overwrite: boolean) {
    this.#root = root;
    this.#overwrite = overwrite;
  }

  /** @throws SallyportError `FILE_FAILED` where there is no such folder, and none can be made */
  static async open(folder: string, { overwrite = false } = {}): Promise<TargetFolder> {
    try {
      await mkdir(folder, { recursive: true });
      return new TargetFolder(await realpath(folder), overwrite);
    } catch (thrown) {
      throw fileFailure(thrown, folder);
    }
  }

  /** Makes a folder of the sender's, and those above it. @throws SallyportError `FILE_REFUSED`, `FILE_FAILED`, `DISK_FULL` */
  async makeFolder(path: readonly string[]): Promise<string> {
    checkPath(path, process.platform === 'win32');
    let folder = this.#root;
    for (const name of path) {
      folder = join(folder, name);
      try {
        await mkdir(folder, { mode: 0o700 });
      } catch (thrown) {
        const there = await lstat(folder).catch(() => undefined);
        // A link could lead anywhere, and something else is in the way.
        if (there && !there.isDirectory()) throw inTheWay(path);
        if (!there) throw fileFailure(thrown, pathText(path));
      }
    }
    return folder;
  }

  async setMode(path: readonly string[], mode: number): Promise<void> {
    await chmod(join(this.#root, ...path), mode);
  }

  /** Where a file goes. `tag` is the sender's own, so that no two ever write to one part. */
  async place(path: readonly string[], tag: string): Promise<Place> {
    checkPath(path, process.platform === 'win32');
    const folder = await this.makeFolder(path.slice(0, -1));
    const name = path.at(-1)!;
    const part = join(folder, partName(name, tag));
    return { final: join(folder, name), part, text: pathText(path) };
  }

  /** What is under the final name: nothing, or a file that may be the same. @throws SallyportError `FILE_EXISTS` */
  async existing(
    { final, text }: Place,
    size: number,
  ): Promise<{ offset: number; sha256: Uint8Array } | undefined> {
    const there = await lstat(final).catch(() => undefined);
    if (!there || (this.#overwrite && there.isFile())) return undefined;
    if (!there.isFile() || there.size !== size) throw fileExists(text);
    const file = await open(final, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      return await hashOf(file);
    } finally {
      await file.close();
    }
  }

  /** The part as an earlier attempt has left it. */
  async partSoFar({ part }: Place): Promise<{ offset: number; hash: Hash }> {
    const there = await lstat(part).catch(() => undefined);
    if (!there) return { offset: 0, hash: createHash('sha256') };
    const file = await open(part, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      return await hashing(file);
    } finally {
      await file.close();
    }
  }

  async openPart({ part }: Place): Promise<FileHandle> {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    const file = await open(part, flags, 0o600);
    if ((await file.stat()).isFile()) return file;
    await file.close();
    throw new SallyportError('FILE_REFUSED', `${part} is in the way`);
  }

  async discard({ part }: Place): Promise<void> {
    await unlink(part);
  }

  /** Gives a whole file its final name. @throws SallyportError `FILE_EXISTS` where something has that by now */
  async finish({ part, final, text }: Place): Promise<void> {
    if (this.#overwrite) return rename(part, final);
    try {
      await link(part, final);
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException;
      if (code === 'EEXIST' || (await lstat(final).catch(() => undefined))) throw fileExists(text);
      return rename(part, final); // a file system without hard links
    }
    await unlink(part);
  }
}

/** The whole content of a file, by its length and its SHA-256. */
async function hashOf(file: FileHandle): Promise<{ offset: number; sha256: Uint8Array }> {
  const { offset, hash } = await hashing(file);
  return { offset, sha256: new Uint8Array(hash.digest()) };
}

/** The same, to be gone on with. */
async function hashing(file: FileHandle): Promise<{ offset: number; hash: Hash }> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafeSlow(256 * 1024);
  for (let offset = 0; ;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
    if (bytesRead === 0) return { offset, hash };
    hash.update(buffer.subarray(0, bytesRead));
    offset += bytesRead;
  }
}

function fileExists(text: string): SallyportError {
  return new SallyportError('FILE_EXISTS', `${text}: exists there already, and is another file`, {
    hint: 'move it away, or receive with --overwrite',
  });
}

function inTheWay(path: readonly string[]): SallyportError {
  return new SallyportError('FILE_REFUSED', `${pathText(path)}: leads through something that is no folder`);
}
