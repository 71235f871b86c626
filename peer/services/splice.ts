import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
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
 * Like `splice`, with a callback for the end. What stands idle shall hold little: a promise and closures for each pair of streams
 * would take a kilobyte, and Node's `pipe` and `finished` take six. So all pairs share their listeners.
 */
export function join(a: Joined, b: Joined, done: (error?: Error) => void): void {
  const pair = new Pair(a, b, done);
  a[PAIR] = pair;
  b[PAIR] = pair;
  for (const pipe of [a, b])
    pipe.on('error', onError).on('close', onClose).on('end', onEnd).on('data', onData);
  for (const pipe of [a, b]) pipe.resume();
  if (a.closed || b.closed) pair.settle();
}

/** Where the listeners find the pair of the stream that they are called for. */
const PAIR = Symbol('pair');
type Joined = Duplex & { [PAIR]?: Pair };

class Pair {
  readonly a: Duplex;
  readonly b: Duplex;
  readonly #done: (error?: Error) => void;
  #over = false;

  constructor(a: Duplex, b: Duplex, done: (error?: Error) => void) {
    this.a = a;
    this.b = b;
    this.#done = done;
  }

  /** What one end reads the other writes. */
  otherThan(pipe: Duplex): Duplex {
    return pipe === this.a ? this.b : this.a;
  }

  end(error?: Error): void {
    if (this.#over) return;
    this.#over = true;
    if (error) for (const pipe of [this.a, this.b]) breakOff(pipe, error);
    this.#done(error);
  }

  /** It is over once both have closed, or one has before it had ended in both directions. */
  settle(): void {
    const { a, b } = this;
    for (const { closed, errored, readableEnded, writableFinished } of [a, b]) {
      if (closed && !(readableEnded && writableFinished)) return this.end(errored ?? closedEarly());
    }
    if (a.closed && b.closed) this.end();
  }
}

function onError(this: Joined, error: Error): void {
  this[PAIR]!.end(error);
}

function onClose(this: Joined): void {
  this[PAIR]!.settle();
}

function onEnd(this: Joined): void {
  const to = this[PAIR]!.otherThan(this);
  if (this instanceof Socket && wasReset(this)) breakOff(to, resetByPeer());
  else to.end();
}

/** At the pace of the slower. */
function onData(this: Joined, chunk: Uint8Array): void {
  const to: Joined = this[PAIR]!.otherThan(this);
  if (to.write(chunk)) return;
  this.pause();
  to.once('drain', onDrain);
}

function onDrain(this: Joined): void {
  this[PAIR]!.otherThan(this).resume();
}

/**
 * After a partial read libuv tells an RST as an end; the kernel, though, has forgotten the remote address then. Once
 * our own side has ended it forgets that after a proper end as well, and nothing can be told. A Unix socket has no local
 * address either. Neither may be asked for before the end: Node would remember it.
 */
function wasReset({ writableEnded, localAddress, remoteAddress }: Socket): boolean {
  return !writableEnded && localAddress !== undefined && remoteAddress === undefined;
}

/** Node's own words, as where libuv tells it: a client that breaks off is no failure of ours either. */
function resetByPeer(): Error {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
}

/** Node's own words: whoever hung up is no failure of ours. */
function closedEarly(): Error {
  return Object.assign(new Error('the stream was closed early'), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
}

function breakOff(pipe: Duplex, error: Error): void {
  if (pipe instanceof Socket) resetConnection(pipe);
  else pipe.destroy(error);
}
