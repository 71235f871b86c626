import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { writeWhole } from '../net/write-whole.ts';

/**
 * Where stdout or stderr is a file, Node writes each chunk with one call and takes it for written, however much of it fitted on the
 * disk: the end of `peer connect … > FILE` could be missing without a word. Here a chunk is written whole, or it fails.
 */
export function writeToFilesWhole(): void {
  writeBy(process.stdout, (chunk) => writeWhole(1, chunk));
  writeBy(process.stderr, logWriter(2));
}

/** Pipes and terminals, which are sockets to Node, take all. */
function writeBy(stream: Writable, write: (chunk: Uint8Array) => void): void {
  if (stream instanceof Socket) return;
  stream._write = (chunk: Uint8Array, _encoding, done) => {
    try {
      write(chunk);
    } catch (thrown) {
      return done(thrown as Error);
    }
    done();
  };
}

/** Once there is room again, a log goes on behind a line of which only a part fitted. */
function logWriter(file: number): (line: Uint8Array) => void {
  let isTorn = false;
  return (line) => {
    const bytes = isTorn ? Buffer.concat([Buffer.from('\n'), line]) : line;
    for (let written = 0; written < bytes.length;) {
      written += writeSync(file, bytes, written);
      isTorn = written < bytes.length;
    }
  };
}
