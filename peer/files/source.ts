import { open, type FileHandle } from 'node:fs/promises';
import { SallyportError } from '../../src/core/errors.ts';
import { changed, modifiedAt, type Entry } from './gather.ts';

/** A file that is read to be sent, as long as it is what was found. */
export interface Source {
  /** At least one byte. @throws SallyportError `FILE_CHANGED`, `FILE_FAILED` where it ends before */
  read(position: number, length: number): Promise<Uint8Array>;
  /** @throws SallyportError `FILE_CHANGED` */
  assertUnchanged(): Promise<void>;
  close(): Promise<void>;
}

/** Files up to this length are read at once, before their turn. */
export const SMALL_BYTES = 64 * 1024;

/** @throws SallyportError `FILE_CHANGED`, `FILE_FAILED`; what the system throws */
export async function openSource(entry: Entry): Promise<Source> {
  const file = await open(entry.source, 'r');
  if (entry.size > SMALL_BYTES) return new OpenFile(file, entry);
  try {
    return new Content(await readWhole(file, entry));
  } finally {
    await file.close();
  }
}

/** A small one holds no descriptor until its turn comes. */
class Content implements Source {
  readonly #content: Uint8Array;

  constructor(content: Uint8Array) {
    this.#content = content;
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    return this.#content.subarray(position, position + length);
  }

  async assertUnchanged(): Promise<void> {}

  async close(): Promise<void> {}
}

class OpenFile implements Source {
  readonly #file: FileHandle;
  readonly #entry: Entry;

  constructor(file: FileHandle, entry: Entry) {
    this.#file = file;
    this.#entry = entry;
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    const bytes = await readAt(this.#file, position, length);
    if (bytes.length === 0) throw await notAsLong(this.#file, this.#entry);
    return bytes;
  }

  async assertUnchanged(): Promise<void> {
    if (await hasChanged(this.#file, this.#entry)) throw changed(this.#entry);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

async function readWhole(file: FileHandle, entry: Entry): Promise<Uint8Array> {
  const content = Buffer.allocUnsafeSlow(entry.size + 1);
  let length = 0;
  while (length < content.length) {
    const { bytesRead } = await file.read(content, length, content.length - length, length);
    length += bytesRead;
    if (bytesRead === 0 || length === entry.size) break;
  }
  if (length !== entry.size) throw await notAsLong(file, entry);
  if (await hasChanged(file, entry)) throw changed(entry);
  return content.subarray(0, length);
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

async function hasChanged(file: FileHandle, { size, modified }: Entry): Promise<boolean> {
  const now = await file.stat();
  return now.size !== size || modifiedAt(now) !== modified;
}

/** Files of /proc and /sys are made up as they are read, and have any size before. */
async function notAsLong(file: FileHandle, entry: Entry): Promise<SallyportError> {
  if (await hasChanged(file, entry)) return changed(entry);
  return new SallyportError('FILE_FAILED', `${entry.source}: is not as long as the system says`, {
    hint: 'copy it, and send the copy',
  });
}
