import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SallyportError } from '../../src/core/errors.ts';
import { resetConnection } from '../../src/net/reset.ts';

/**
 * Joins two byte streams in both directions. Each direction ends alone; an error or an early close of either
 * destroys both, a TCP connection by RST: whoever is behind it must not take the end for a complete one. Rejects with
 * the first error.
 */
export function splice(a: Duplex, b: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    join(a, b, (error) => (error ? reject(error) : resolve()));
  });
}

/**
 * Like `splice`, with a callback for the end: a promise for each pair of streams that stands idle would hold a tenth
 * more. Node's `pipe` and `finished` do the same, but hold 6 KB.
 */
export function join(a: Duplex, b: Duplex, done: (error?: Error) => void): void {
  let over = false;
  const end = (error?: Error): void => {
    if (over) return;
    over = true;
    if (error) for (const pipe of [a, b]) breakOff(pipe, error);
    done(error);
  };
  const closed = (): void => {
    for (const { closed: isClosed, errored, readableEnded, writableFinished } of [a, b]) {
      if (isClosed && !(readableEnded && writableFinished)) return end(errored ?? closedEarly());
    }
    if (a.closed && b.closed) end();
  };
  for (const pipe of [a, b]) pipe.on('error', end).on('close', closed);
  carry(a, b);
  carry(b, a);
  if (a.closed || b.closed) closed();
}

/** What one end reads the other writes, at the pace of the slower, and its end likewise. */
function carry(from: Duplex, to: Duplex): void {
  const tcp = isTcp(from) ? from : undefined;
  from.on('end', () => {
    if (tcp && wasReset(tcp)) breakOff(to, brokenOff());
    else to.end();
  });
  from.on('data', (chunk: Uint8Array) => {
    if (to.write(chunk)) return;
    from.pause();
    to.once('drain', () => from.resume());
  });
  from.resume();
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

/** Node's own words: whoever hung up is no failure of ours. */
function closedEarly(): Error {
  return Object.assign(new Error('the stream was closed early'), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
}

function breakOff(pipe: Duplex, error: Error): void {
  if (pipe instanceof Socket) resetConnection(pipe);
  else pipe.destroy(error);
}
