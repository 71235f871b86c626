import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

type Done = (error?: Error | null) => void;

const LINGER_MS = 2_000;

/**
 * A socket whose writes are done at once, for an HTTP/2 session to run on.
 *
 * Node's session doesn't read while one of its writes is in progress. When both ends have more to send than the
 * kernel's buffers take, neither reads and both stand still for good. One end that always reads breaks the circle.
 * What isn't held back here has to be held back above: see `whenSent`.
 */
export class PromptSocket extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause();
    });
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  /** Calls `fn` when at most `bytes` of what was written are still on this side of the kernel. */
  whenSent(bytes: number, fn: () => void): void {
    if (this.#socket.writableLength <= bytes || !this.#socket.writableNeedDrain) fn();
    else this.#socket.once('drain', fn);
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#socket.write(chunk);
    done();
  }

  override _writev(chunks: { chunk: Buffer }[], done: Done): void {
    this.#socket.cork();
    for (const { chunk } of chunks) this.#socket.write(chunk);
    this.#socket.uncork();
    done();
  }

  /** HTTP/2 has no use for half of a connection: the other end closes it as well, or it is closed for it. */
  override _final(done: Done): void {
    const socket = this.#socket;
    socket.end(() => {
      const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
      socket.once('close', () => clearTimeout(timer));
      done();
    });
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
