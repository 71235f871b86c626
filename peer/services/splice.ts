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
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    if (isTcp(from)) from.on('end', () => wasReset(from) && breakOff(to, brokenOff()));
    from.pipe(to);
  }
  try {
    await Promise.all([finished(a), finished(b)]);
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    breakOff(a, error);
    breakOff(b, error);
    throw error;
  }
}

/** Ends a connection by RST where it is one of TCP; a Unix socket has no such thing. */
export function resetConnection(socket: Socket): void {
  try {
    socket.resetAndDestroy();
  } catch {
    socket.destroy();
  }
}

/** A Unix socket has no local address. The remote one must not be asked for yet: Node would remember it. */
function isTcp(pipe: Duplex): pipe is Socket {
  return pipe instanceof Socket && pipe.localAddress !== undefined;
}

/**
 * After a partial read libuv tells an RST as an end; the kernel, though, has forgotten the remote address then. Once
 * our own side has ended it forgets that after a proper end as well, and nothing can be told.
 */
function wasReset(socket: Socket): boolean {
  return !socket.writableEnded && socket.remoteAddress === undefined;
}

function brokenOff(): SallyportError {
  return new SallyportError('STREAM_RESET', 'the connection broke off');
}

function breakOff(pipe: Duplex, error: Error): void {
  if (pipe instanceof Socket) resetConnection(pipe);
  else pipe.destroy(error);
}
