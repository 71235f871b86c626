import { constants } from 'node:fs';
import { chmod, link, lstat, mkdir, open, realpath, rename, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { equalBytes } from '../../src/core/bytes.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { checkPath, partName, pathText } from '../../src/core/transfer/name.ts';
import { makeFolder } from '../../src/net/make-folder.ts';
import { isDiskFull } from '../../src/net/write-whole.ts';
import { fileFailure, receiverFailure } from './failure.ts';
import { hashing, type Content } from './hashing.ts';

/** What a folder can't be made with, where a file stands in its place or above it. */
const NO_FOLDER = ['EEXIST', 'ENOTDIR'];

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

  /** @throws SallyportError `CONFIG_INVALID` where there is no such folder, and none can be made; `DISK_FULL` */
  static async open(folder: string, { overwrite = false } = {}): Promise<TargetFolder> {
    try {
      makeFolder(folder);
      return new TargetFolder(await realpath(folder), overwrite);
    } catch (cause) {
      if (isDiskFull(cause)) throw fileFailure(cause, folder);
      const { code = String(cause) } = cause as NodeJS.ErrnoException;
      const why = NO_FOLDER.includes(code) ? 'it is a file, or in one' : code;
      throw new SallyportError('CONFIG_INVALID', `can't take files into ${folder}: ${why}`, {
        hint: 'give a folder that can be written',
        cause,
      });
    }
  }

  /**
   * Makes a folder of the sender's, and those above it. Until `setMode` we can write to it, whatever its mode.
   * @returns whether it was not there before
   * @throws SallyportError `FILE_REFUSED`, `FILE_FAILED`, `DISK_FULL`
   */
  async makeFolder(path: readonly string[], mode = 0): Promise<boolean> {
    checkPath(path, process.platform === 'win32');
    let folder = this.#root;
    let made = false;
    for (const [depth, name] of path.entries()) {
      folder = join(folder, name);
      const ownMode = depth === path.length - 1 ? grantedMode(mode) : 0;
      try {
        await mkdir(folder, { mode: ownMode | 0o700 });
        made = true;
      } catch (thrown) {
        const there = await lstat(folder).catch(() => undefined);
        // A link could lead anywhere, and something else is in the way.
        if (there && !there.isDirectory()) throw inTheWay(path);
        if (!there) throw receiverFailure(thrown, pathText(path));
        made = false;
      }
    }
    return made;
  }

  /** Only for folders that `makeFolder` made: the others are not the sender's to open or close. */
  async setMode(path: readonly string[], mode: number): Promise<void> {
    await chmod(join(this.#root, ...path), grantedMode(mode));
  }

  /**
   * Where a file goes.
   * @param tag the sender's own, so that no two ever write to one part
   * @param isLooked its folder was looked at, or made, just before
   */
  async place(path: readonly string[], tag: string, isLooked = false): Promise<Place> {
    checkPath(path, process.platform === 'win32');
    const folder = isLooked ? join(this.#root, ...path.slice(0, -1)) : await this.#folderOf(path);
    const name = path.at(-1)!;
    const part = join(folder, partName(name, tag));
    return { final: join(folder, name), part, text: pathText(path) };
  }

  /** The folder that a file goes to; most are there, which one look tells however deep they are. */
  async #folderOf(path: readonly string[]): Promise<string> {
    const folder = join(this.#root, ...path.slice(0, -1));
    const real = await realpath(folder).catch(() => undefined);
    // Through a link it would be another.
    if (real !== folder) await this.makeFolder(path.slice(0, -1));
    return folder;
  }

  /** Whether a file that may be the same is under the final name. @throws SallyportError `FILE_EXISTS` where it is another */
  async exists({ final, text }: Place, size: number): Promise<boolean> {
    const there = await lstat(final).catch(() => undefined);
    if (!there || (this.#overwrite && there.isFile())) return false;
    if (!there.isFile() || there.size !== size) throw fileExists(text);
    return true;
  }

  /** @throws SallyportError `FILE_EXISTS` where the file under the final name has another hash */
  async compare({ final, part, text }: Place, sha256: Uint8Array, signal: AbortSignal): Promise<void> {
    const file = await open(final, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const { hash } = await hashing(file, signal);
      if (!equalBytes(new Uint8Array(hash.digest()), sha256)) throw fileExists(text);
      const { nlink, dev, ino } = await file.stat();
      if (nlink === 1) return;
      // Whoever was killed between the two steps of `finish` has left it under both names.
      const there = await lstat(part).catch(() => undefined);
      if (there?.dev === dev && there.ino === ino) await unlink(part);
    } finally {
      await file.close();
    }
  }

  /** The part as an earlier attempt has left it; `undefined` where it has left none. */
  async partSoFar({ part }: Place, signal: AbortSignal): Promise<Content | undefined> {
    const there = await lstat(part).catch(() => undefined);
    const killedAtTheEnd = there !== undefined && there.isFile() && there.nlink > 1;
    // Whoever was killed between the two steps of `finish` has left one file under both names. Written to, the whole one would be lost.
    if (killedAtTheEnd) await unlink(part);
    if (!there || killedAtTheEnd) return undefined;
    const file = await open(part, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      return await hashing(file, signal);
    } finally {
      await file.close();
    }
  }

  /** A part of a file that nothing is there of, with the permissions that the whole one keeps. */
  async makePart({ part }: Place, mode: number): Promise<FileHandle> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const make = () => open(part, flags, partMode(mode));
    return make().catch(async (thrown: unknown) => {
      if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown;
      await unlink(part); // what it holds may have its final name as well: it is not to be written to
      return make();
    });
  }

  /** The part to go on with, made where it isn't there, and its length. */
  async openPart({ part }: Place): Promise<{ file: FileHandle; size: number }> {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    const file = await open(part, flags, 0o600);
    const there = await file.stat();
    if (there.isFile()) return { file, size: there.size };
    await file.close();
    throw new SallyportError('FILE_REFUSED', `${part} is in the way`);
  }

  async discard({ part }: Place): Promise<void> {
    await unlink(part);
  }

  /**
   * The permissions and the time that a whole file keeps.
   * @param isMade it was made by `makePart`, with this mode
   */
  async settle(file: FileHandle, mode: number, modified: number, isMade: boolean): Promise<void> {
    if (!isMade || partMode(mode) !== grantedMode(mode)) await file.chmod(grantedMode(mode));
    await file.utimes(Date.now() / 1_000, modified / 1_000);
    await file.datasync();
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

/** Whether a folder that was made with this mode has it at once: we can write to it. */
export function staysOpen(mode: number): boolean {
  return (grantedMode(mode) & 0o700) === 0o700;
}

/** What a sender may have of a mode: never more than the umask leaves, and nothing that lets others write. */
function grantedMode(mode: number): number {
  return mode & 0o777 & ~0o022 & ~process.umask();
}

/** Whoever goes on with a part has to read and write it. */
function partMode(mode: number): number {
  return grantedMode(mode) | 0o600;
}

function fileExists(text: string): SallyportError {
  return new SallyportError('FILE_EXISTS', `${text}: exists there already, and is another file`, {
    hint: 'move it away, or receive with --overwrite',
  });
}

function inTheWay(path: readonly string[]): SallyportError {
  return new SallyportError('FILE_REFUSED', `${pathText(path)}: leads through something that is no folder`);
}
