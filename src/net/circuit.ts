import { Duplex } from 'node:stream';
import type { CircuitKind } from '../core/session/events.ts';

/** One leg of a relay circuit. */
export interface Leg {
  readonly kind: CircuitKind;
  readonly pipe: Duplex;
}

type Done = (error?: Error | null) => void;

/** Calls `fn` when more may be written. */
export type Gate = (fn: () => void) => void;

/** Two such buffers are in use at a time: one on its way, one filling. */
const BUFFER_BYTES = 512 * 1024;

/**
 * A leg on an HTTP/2 stream. The stream is one of many on a socket that takes whatever is written to it, so the writer is
 * held back here. Destroyed with a `SallyportError` (`TICKET_INVALID`, `TICKET_EXPIRED`, `LIMIT`) when the relay
 * refuses it.
 */
export class Http2Leg extends Duplex {
  readonly #stream: Duplex;
  readonly #gate: Gate;

  /** @param gate called between one write and the next */
  constructor(stream: Duplex, gate: Gate) {
    super({ readableHighWaterMark: BUFFER_BYTES, writableHighWaterMark: BUFFER_BYTES });
    this.#stream = stream;
    this.#gate = gate;
    this.on('error', () => undefined); // whoever opened it listens too; a leg nobody wants any more must not throw
    stream.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) stream.pause();
    });
    stream.on('end', () => this.push(null));
    stream.on('error', (error) => this.destroy(error));
    stream.on('close', () => this.#closed(stream.readableEnded));
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#stream.write(chunk, this.#gated(done));
  }

  override _writev(chunks: { chunk: Buffer }[], done: Done): void {
    this.#stream.cork();
    for (const [index, { chunk }] of chunks.entries()) {
      if (index === chunks.length - 1) this.#stream.write(chunk, this.#gated(done));
      else this.#stream.write(chunk);
    }
    this.#stream.uncork();
  }

  override _final(done: Done): void {
    this.#stream.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#stream.destroy();
    done(error);
  }

  /** What came before a proper end is still read; nothing can be written any more. */
  #closed(ended: boolean): void {
    if (ended && !this.readableEnded) this.once('end', () => this.destroy());
    else this.destroy();
  }

  #gated(done: Done): Done {
    return (error) => (error ? done(error) : this.#gate(done));
  }
}
