import { Duplex } from 'node:stream';

export type CircuitKind = 'relay-h2' | 'relay-ws';

type Done = (error?: Error | null) => void;

/** Calls `fn` when more may be written. */
export type Gate = (fn: () => void) => void;

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
  /** Called between one write and the next; holds the writer back as long as the carrier's socket is full. */
  #gate: Gate = (fn) => fn();

  constructor(expected: CircuitKind) {
    super({ readableHighWaterMark: BUFFER_BYTES, writableHighWaterMark: BUFFER_BYTES });
    this.#kind = expected;
    this.on('error', () => undefined); // whoever opened it listens too; a leg nobody wants any more must not throw
  }

  /** What carries it; a guess until `attach`. */
  get kind(): CircuitKind {
    return this.#kind;
  }

  attach(carrier: Duplex, kind: CircuitKind, gate?: Gate): void {
    if (this.destroyed) {
      carrier.destroy();
      return;
    }
    this.#kind = kind;
    this.#carrier = carrier;
    if (gate) this.#gate = gate;
    carrier.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) carrier.pause();
    });
    carrier.on('end', () => this.push(null));
    carrier.on('error', (error) => this.destroy(error));
    carrier.on('close', () => this.#carrierClosed(carrier.readableEnded));
    this.#onCarrier?.();
  }

  override _read(): void {
    this.#carrier?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#whenCarried((carrier) => carrier.write(chunk, this.#gated(done)));
  }

  override _writev(chunks: { chunk: Buffer }[], done: Done): void {
    this.#whenCarried((carrier) => {
      carrier.cork();
      for (const [index, { chunk }] of chunks.entries()) {
        if (index === chunks.length - 1) carrier.write(chunk, this.#gated(done));
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

  /** What came before a proper end is still read; nothing can be written any more. */
  #carrierClosed(ended: boolean): void {
    if (ended && !this.readableEnded) this.once('end', () => this.destroy());
    else this.destroy();
  }

  #gated(done: Done): Done {
    return (error) => (error ? done(error) : this.#gate(done));
  }

  #whenCarried(use: (carrier: Duplex) => void): void {
    if (this.#carrier) use(this.#carrier);
    else this.#onCarrier = () => use(this.#carrier!);
  }
}
