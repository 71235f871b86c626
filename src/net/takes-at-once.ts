import type { Readable } from 'node:stream';

/**
 * Whether somebody takes what comes, as it is, and nothing waits before it: then a chunk may be emitted past the readable side, which
 * would look for more a tick later, for each one.
 */
export function takesAtOnce({ readableFlowing, readableLength, readableEncoding }: Readable): boolean {
  return readableFlowing === true && readableLength === 0 && readableEncoding === null;
}
