import { lstat, readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { Stats } from 'node:fs';
import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import { MAX_PATH_NAMES } from '../../src/core/transfer/name.ts';
import { fileFailure } from './failure.ts';

/** One file or folder that is to be sent. */
export interface Entry {
  /** Where it is here. */
  readonly source: string;
  /** Where it goes below the receiver's folder, name by name. */
  readonly path: readonly string[];
  readonly kind: 'file' | 'folder';
  /** Bytes; 0 for a folder. */
  readonly size: number;
  /** Permissions, 0 to 0o777. */
  readonly mode: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
}

/** Who is told of what is inside a folder that is to be sent and won't be, and who stops it: a folder may be a whole disk. */
export interface GatherOptions {
  readonly signal?: AbortSignal | undefined;
  /** A link, socket or device. */
  readonly onSkipped: (source: string) => void;
  readonly onFailed: (source: string, error: SallyportError) => void;
}

/**
 * Everything that is named, folders with what is in them, a folder before its contents. A link that is named is followed;
 * links, sockets and devices inside folders are left out, and so is what can't be read or is too deep there.
 * @throws SallyportError `FILE_FAILED` for what is named itself, `USAGE` where two would have one name; the signal's reason
 */
export async function gather(named: readonly string[], options: GatherOptions): Promise<Entry[]> {
  const tops = new Set<string>();
  const entries: Entry[] = [];
  for (const source of named) {
    const top = basename(resolve(source));
    if (top === '') {
      throw new SallyportError('USAGE', 'the root folder has no name to be sent under', {
        hint: 'name what is in it',
      });
    }
    if (tops.has(top)) {
      throw new SallyportError('USAGE', `two of them are called ${JSON.stringify(top)}`, {
        hint: 'rename one, or send a folder that holds it',
      });
    }
    tops.add(top);
    await gatherBelow(source, [top], look(source, [top]), entries, options);
  }
  return entries;
}

async function gatherBelow(
  source: string,
  path: readonly string[],
  looking: Promise<Stats>,
  entries: Entry[],
  options: GatherOptions,
): Promise<void> {
  options.signal?.throwIfAborted();
  if (path.length > MAX_PATH_NAMES) throw new SallyportError('FILE_REFUSED', `${source}: is too deep`);
  const found = await looking;
  if (found.isFile()) {
    entries.push({ source, path, kind: 'file', size: found.size, ...kept(found) });
  } else if (found.isDirectory()) {
    entries.push({ source, path, kind: 'folder', size: 0, ...kept(found) });
    const names = await attempt(source, () => readdir(source));
    for (const inside of lookingInto(source, path, names.sort())) {
      try {
        await gatherBelow(...inside, entries, options);
      } catch (thrown) {
        options.signal?.throwIfAborted();
        options.onFailed(inside[0], asSallyportError(thrown));
      }
    }
  } else if (path.length === 1) {
    throw new SallyportError('FILE_FAILED', `${source}: is neither a file nor a folder`);
  } else {
    options.onSkipped(source);
  }
}

const LOOKED_AT_ONCE = 64;

type Looked = [source: string, path: readonly string[], looking: Promise<Stats>];

/** What has these names in a folder, several looked at at once: one after the other, each waits for a thread and back. */
function* lookingInto(source: string, path: readonly string[], names: readonly string[]): Generator<Looked> {
  for (let at = 0; at < names.length; at += LOOKED_AT_ONCE) {
    yield* names.slice(at, at + LOOKED_AT_ONCE).map((name): Looked => {
      const inside = join(source, name);
      const insidePath = [...path, name];
      return [inside, insidePath, look(inside, insidePath)];
    });
  }
}

/**
 * A file as it is by now: a long transfer comes to it hours after it was found.
 * @throws SallyportError `FILE_FAILED`, `FILE_CHANGED` where something else has its place
 */
export async function lookAgain(entry: Entry): Promise<Entry> {
  if (entry.kind === 'folder') return entry;
  const found = await look(entry.source, entry.path);
  if (!found.isFile()) throw changed(entry);
  return { ...entry, size: found.size, ...kept(found) };
}

export function changed({ source }: Entry): SallyportError {
  return new SallyportError('FILE_CHANGED', `${source}: changed while it was being sent`, {
    hint: 'send it again',
  });
}

/** A link that is named is followed, others are what they are. */
function look(source: string, path: readonly string[]): Promise<Stats> {
  const looking = attempt(source, () => (path.length === 1 ? stat(source) : lstat(source)));
  looking.catch(() => {}); // told when its turn comes
  return looking;
}

/** As `Entry.modified`; what is older counts as of 1970. */
export function modifiedAt({ mtimeMs }: Stats): number {
  return Math.max(0, Math.trunc(mtimeMs));
}

function kept(found: Stats): Pick<Entry, 'mode' | 'modified'> {
  return { mode: found.mode & 0o777, modified: modifiedAt(found) };
}

async function attempt<Result>(source: string, act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (thrown) {
    // Bytes of a name that are no text are read as U+FFFD, and under that nothing is found.
    if (basename(source).includes('\ufffd') && (thrown as NodeJS.ErrnoException).code === 'ENOENT')
      throw new SallyportError('FILE_FAILED', `${source}: its name is not UTF-8`, { cause: thrown });
    throw fileFailure(thrown, source);
  }
}
