import { Duplex } from 'node:stream';

/** Standard input and output as one stream: its readable side is stdin, its writable side stdout. */
export function standardPipe(): Duplex {
  return Duplex.from({ readable: process.stdin, writable: process.stdout });
}
