import { LIMITS } from '../../src/core/limits.ts';
import { concat } from '../../src/core/bytes.ts';
import type { Clock } from '../../src/net/clock.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';

export interface DatagramFlowOptions {
  readonly stream: SessionStream;
  readonly clock: Clock;
  readonly onDatagram: (bytes: Uint8Array) => void;
  readonly idleMs?: number | undefined;
}

/**
 * One flow of UDP datagrams between a client of one peer and a target of the other: a stream on which each datagram
 * follows its length.
 * ```
 *  length 2 | datagram      and again
 * ```
 * It ends, at both ends, after a minute without a datagram. What the stream doesn't take at once waits in a short
 * queue, from which the oldest goes first: who sends datagrams would rather lose one than have it late.
 */
export class DatagramFlow {
  readonly #stream: SessionStream;
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #onDatagram: (bytes: Uint8Array) => void;
  #queue: Uint8Array[] = [];
  #rest: Uint8Array = new Uint8Array();
  #cancelIdle: () => void = () => {};
  /** Datagrams that were given up because the stream took none. */
  dropped = 0;

  constructor({ stream, clock, onDatagram, idleMs = LIMITS.flowIdleMs }: DatagramFlowOptions) {
    this.#stream = stream;
    this.#clock = clock;
    this.#idleMs = idleMs;
    this.#onDatagram = onDatagram;
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('drain', () => this.#drain());
    // The other end has let it go: nothing that is sent would arrive.
    stream.on('end', () => this.close());
    stream.on('close', () => this.#cancelIdle());
    this.#touch();
  }

  send(bytes: Uint8Array): void {
    if (bytes.length > MAX_DATAGRAM || this.#stream.writableEnded || this.#stream.destroyed) return;
    this.#touch();
    this.#queue.push(bytes);
    if (this.#queue.length > LIMITS.queuedDatagrams) {
      this.#queue.shift();
      this.dropped += 1;
    }
    this.#drain();
  }

  /** What was sent still arrives. */
  close(): void {
    this.#cancelIdle();
    this.#stream.end();
  }

  #drain(): void {
    while (this.#queue.length > 0 && !this.#stream.writableNeedDrain) {
      const bytes = this.#queue.shift()!;
      this.#stream.write(concat(Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes));
    }
  }

  #receive(chunk: Uint8Array): void {
    let at = 0;
    const bytes = this.#rest.length > 0 ? concat(this.#rest, chunk) : chunk;
    while (bytes.length - at >= 2) {
      const end = at + 2 + ((bytes[at]! << 8) | bytes[at + 1]!);
      if (end > bytes.length) break;
      this.#touch();
      this.#onDatagram(bytes.subarray(at + 2, end));
      at = end;
    }
    this.#rest = bytes.subarray(at);
  }

  #touch(): void {
    this.#cancelIdle();
    this.#cancelIdle = this.#clock.setTimer(() => this.close(), this.#idleMs);
  }
}

/** What UDP over IPv4 can carry. */
const MAX_DATAGRAM = 65_507;
