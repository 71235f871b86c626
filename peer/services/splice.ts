import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { SallyportError } from '../../src/core/errors.ts';

/**
 * Joins two byte streams in both directions. Each direction ends alone; an error or an early close of either
 * destroys both, a TCP connection by RST: whoever is behind it must not take the end for a complete one. Rejects with
 * the first error.
 */
export async function splice(a: Duplex, b: Duplex): Promise<void> {
  a.on('end', () => wasReset(a) && breakOff(b, brokenOff()));
  b.on('end', () => wasReset(b) && breakOff(a, brokenOff()));
  a.pipe(b);
  b.pipe(a);
  try {
    await Promise.all([finished(a), finished(b)]);
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    breakOff(a, error);
    breakOff(b, error);
    throw error;
  }
}

/**
 * After a partial read libuv tells an RST as an end; the kernel, though, has forgotten the remote address then. Once
 * our own side has ended it forgets that after a proper end as well, and nothing can be told.
 */
function wasReset(pipe: Duplex): boolean {
  return pipe instanceof Socket && !pipe.writableEnded && pipe.remoteAddress === undefined;
}

function brokenOff(): SallyportError {
  return new SallyportError('STREAM_RESET', 'the connection broke off');
}

function breakOff(pipe: Duplex, error: Error): void {
  if (pipe instanceof Socket) pipe.resetAndDestroy();
  else pipe.destroy(error);
}
