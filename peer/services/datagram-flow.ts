import { LIMITS } from '../../src/core/limits.ts';
import type { Clock } from '../../src/net/clock.ts';
import { LengthPrefixed, withLength } from '../length-prefixed.ts';
import type { SessionDatagrams } from '../session-datagrams.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';

export interface DatagramFlowOptions {
  readonly stream: SessionStream;
  readonly clock: Clock;
  readonly onDatagram: (bytes: Uint8Array) => void;
  /** Where datagrams can go that may be lost. */
  readonly datagrams: SessionDatagrams;
  /** Whether this end opened the stream, or dials the target. */
  readonly end: 'opens' | 'dials';
  readonly idleMs?: number | undefined;
}

/**
 * One flow of UDP datagrams between a client of one peer and a target of the other. A stream stands for it, and ends,
 * at both ends, after a minute without a datagram. While a path by UDP is up datagrams go as messages of that, lost or
 * not; else, and where one is too large, on the stream, each after its length.
 * ```
 *  length 2 | datagram      and again
 * ```
 * The first one of the end that dials is empty, and says that it takes messages; until then the other end's could
 * overtake the stream's OPEN. What the stream doesn't take at once waits in a short queue, from which the oldest goes
 * first: who sends datagrams would rather lose one than have it late.
 */
export class DatagramFlow {
  readonly #stream: SessionStream;
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #onDatagram: (bytes: Uint8Array) => void;
  readonly #datagrams: SessionDatagrams;
  /** The other end takes messages. */
  #ready: boolean;
  #queue: Uint8Array[] = [];
  #cancelIdle: () => void = () => {};
  /** Datagrams that were given up because the stream took none. */
  dropped = 0;

  constructor(options: DatagramFlowOptions) {
    const { stream, clock, onDatagram, datagrams, end, idleMs = LIMITS.flowIdleMs } = options;
    this.#stream = stream;
    this.#clock = clock;
    this.#idleMs = idleMs;
    this.#onDatagram = onDatagram;
    this.#datagrams = datagrams;
    this.#ready = end === 'dials';
    const release = datagrams.take(stream.id, (bytes) => {
      stream.countDatagram('received', bytes.length);
      this.#deliver(bytes);
    });
    if (end === 'dials') stream.write(READY);
    const incoming = new LengthPrefixed((bytes) => this.#receive(bytes));
    stream.on('data', (chunk: Buffer) => incoming.push(chunk));
    stream.on('drain', () => this.#drain());
    // The other end has let it go: nothing that is sent would arrive.
    stream.on('end', () => this.close());
    stream.on('close', () => {
      release();
      this.#cancelIdle();
    });
    this.#touch();
  }

  send(bytes: Uint8Array): void {
    if (bytes.length > MAX_DATAGRAM || this.#stream.writableEnded || this.#stream.destroyed) return;
    this.#touch();
    if (this.#ready && this.#datagrams.send(this.#stream.id, bytes)) {
      this.#stream.countDatagram('sent', bytes.length);
      return;
    }
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
      this.#stream.write(withLength(bytes));
    }
  }

  #receive(bytes: Uint8Array): void {
    if (this.#ready) this.#deliver(bytes);
    this.#ready = true;
  }

  #deliver(bytes: Uint8Array): void {
    if (this.#stream.destroyed) return;
    this.#touch();
    this.#onDatagram(bytes);
  }

  #touch(): void {
    this.#cancelIdle();
    this.#cancelIdle = this.#clock.setTimer(() => this.close(), this.#idleMs);
  }
}

/** A length of zero. */
const READY = Uint8Array.of(0, 0);

/** What UDP over IPv4 can carry. */
const MAX_DATAGRAM = 65_507;
