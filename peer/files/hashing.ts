import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { LIMITS } from '../../src/core/limits.ts';
import { Turns } from '../turns.ts';

/** Of the whole process: a sender gets a large file hashed for a message of a few bytes. */
const turns = new Turns(LIMITS.hashesAtOnce);

/** How long a content is, and its SHA-256, to be gone on with. */
export interface Content {
  readonly offset: number;
  readonly hash: Hash;
}

/** The content of a file. Rejects with the signal's reason. */
export async function hashing(file: FileHandle, signal: AbortSignal): Promise<Content> {
  const hash = createHash('sha256');
  for (let offset = 0; ;) {
    signal.throwIfAborted();
    const end = await turns.take(() => hashSlice(file, offset, hash, signal));
    if (end < offset + SLICE_BYTES) return { offset: end, hash };
    offset = end;
  }
}

/** Returns where it ended: before the slice does where the file does. */
async function hashSlice(file: FileHandle, from: number, hash: Hash, signal: AbortSignal): Promise<number> {
  const buffer = Buffer.allocUnsafeSlow(256 * 1024);
  let offset = from;
  while (offset < from + SLICE_BYTES) {
    signal.throwIfAborted();
    const { bytesRead } = await file.read(
      buffer,
      0,
      Math.min(buffer.length, from + SLICE_BYTES - offset),
      offset,
    );
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    offset += bytesRead;
  }
  return offset;
}

/** Of a turn: whose file is small doesn't wait for somebody's disk image. */
const SLICE_BYTES = 16 * 2 ** 20;
