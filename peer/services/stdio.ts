import { Duplex } from 'node:stream';
import { SallyportError } from '../../src/core/errors.ts';

/** Standard input and output as one stream: its readable side is stdin, its writable side stdout. */
export function standardPipe(): Duplex {
  return Duplex.from({ readable: process.stdin, writable: process.stdout });
}

/** What ended it early: the session's own error, or whoever held the other ends of stdin and stdout. */
export function pipeFailure(thrown: unknown): SallyportError {
  if (thrown instanceof SallyportError) return thrown;
  const { code } = thrown as NodeJS.ErrnoException;
  const why = code === 'EPIPE' ? 'standard output was closed' : `standard input or output failed (${code})`;
  return new SallyportError('STREAM_RESET', `${why} before everything had passed`, { cause: thrown });
}
