import { Duplex } from 'node:stream';

export type CircuitKind = 'relay-h2' | 'relay-ws';

type Done = (error?: Error | null) => void;

/** Two such buffers are in use at a time: one on its way, one filling. */
const BUFFER_BYTES = 512 * 1024;

/**
 * One leg of a relay circuit, to be written to at once: what is written before the carrier exists goes out with its
 * first flight. Destroyed with a `SallyportError` (`TICKET_INVALID`, `TICKET_EXPIRED`, `RELAY_UNREACHABLE`, `LIMIT`)
 * when the relay refuses it.
 */
export class Circuit extends Duplex {
  #kind: CircuitKind;
  #carrier: Duplex | undefined;
  #onCarrier: (() => void) | undefined;

  constructor(expected: CircuitKind) {
    super({ readableHighWaterMark: BUFFER_BYTES, writableHighWaterMark: BUFFER_BYTES });
    this.#kind = expected;
    this.on('error', () => undefined); // whoever opened it listens too; a leg nobody wants any more must not throw
  }

  /** What carries it; a guess until `attach`. */
  get kind(): CircuitKind {
    return this.#kind;
  }

  attach(carrier: Duplex, kind: CircuitKind): void {
    if (this.destroyed) {
      carrier.destroy();
      return;
    }
    this.#kind = kind;
    this.#carrier = carrier;
    carrier.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) carrier.pause();
    });
    carrier.on('end', () => this.push(null));
    carrier.on('error', (error) => this.destroy(error));
    carrier.on('close', () => {
      if (!this.readableEnded && carrier.readableEnded) this.push(null);
      else if (!carrier.readableEnded || !this.writableFinished) this.destroy();
    });
    this.#onCarrier?.();
  }

  override _read(): void {
    this.#carrier?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#whenCarried((carrier) => carrier.write(chunk, done));
  }

  override _writev(chunks: { chunk: Buffer }[], done: Done): void {
    this.#whenCarried((carrier) => {
      carrier.cork();
      for (const [index, { chunk }] of chunks.entries()) {
        if (index === chunks.length - 1) carrier.write(chunk, done);
        else carrier.write(chunk);
      }
      carrier.uncork();
    });
  }

  override _final(done: Done): void {
    this.#whenCarried((carrier) => carrier.end(done));
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#carrier?.destroy();
    done(error);
  }

  #whenCarried(use: (carrier: Duplex) => void): void {
    if (this.#carrier) use(this.#carrier);
    else this.#onCarrier = () => use(this.#carrier!);
  }
}
