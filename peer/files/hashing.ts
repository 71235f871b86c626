import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { LIMITS } from '../../src/core/limits.ts';
import { Turns } from '../turns.ts';

/** Of the whole process: a sender gets a large file hashed for a message of a few bytes. */
const turns = new Turns(LIMITS.hashesAtOnce);

/** The length of a file and the SHA-256 of its content, to be gone on with. Rejects with the signal's reason. */
export function hashing(file: FileHandle, signal: AbortSignal): Promise<{ offset: number; hash: Hash }> {
  return turns.take(async () => {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafeSlow(256 * 1024);
    for (let offset = 0; ;) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
      if (bytesRead === 0) return { offset, hash };
      hash.update(buffer.subarray(0, bytesRead));
      offset += bytesRead;
    }
  });
}
