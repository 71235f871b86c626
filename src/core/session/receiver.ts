import type { Instant } from '../machine.ts';
import { FRAME_HEADER_BYTES, protocolError } from './frame.ts';
import type { SessionLimits } from './limits.ts';

/**
 * The receiving half of the sequence: takes only the next frame, knows how much of it an earlier path has already
 * delivered, and says when to acknowledge.
 */
export class SequenceReceiver {
  readonly #limits: SessionLimits;
  #next = 0;
  /** Payload bytes of frame `#next` that were passed on before it was complete, and that frame's length. */
  #partial = 0;
  #partialLength = 0;
  #unacknowledged = 0;
  #oldestUnacknowledgedAt: Instant = 0;
  #acknowledgedAt: Instant = -Infinity;

  constructor(limits: SessionLimits) {
    this.#limits = limits;
  }

  get next(): number {
    return this.#next;
  }

  /** Received since the last acknowledgement, headers included. */
  get unacknowledged(): number {
    return this.#unacknowledged;
  }

  /** The part of a DATA slice that is new; `undefined` where all of it came before. */
  accept(sequence: number, offset: number, slice: Uint8Array, length: number): Uint8Array | undefined {
    if (sequence !== this.#next) return undefined;
    if (this.#partial > 0 && length !== this.#partialLength) {
      throw protocolError(
        `frame ${sequence} was sent again with ${length} bytes, first with ${this.#partialLength}`,
      );
    }
    const known = this.#partial - offset;
    if (known >= slice.length) return undefined;
    this.#partial = offset + slice.length;
    this.#partialLength = length;
    return known === 0 ? slice : slice.subarray(known);
  }

  /** Frame `#next` is complete. */
  complete(length: number, now: Instant): void {
    this.#next += 1;
    this.#partial = 0;
    this.noteReceived(length, now);
  }

  /** Counts towards the next acknowledgement; duplicates do too, since they show that the peer missed one. */
  noteReceived(length: number, now: Instant): void {
    if (this.#unacknowledged === 0) this.#oldestUnacknowledgedAt = now;
    this.#unacknowledged += length + FRAME_HEADER_BYTES;
  }

  /**
   * When the next acknowledgement should go out. By bytes it is due at once, but not more than once in five
   * milliseconds below a megabyte: on a fast path the acknowledgements would otherwise cost more than they bring.
   * Over UDP each is a TLS record, a packet and its acknowledgement, an eighth of both ends' processor time.
   */
  get acknowledgeAt(): Instant | undefined {
    if (this.#unacknowledged === 0) return undefined;
    if (this.#unacknowledged >= MAX_UNACKNOWLEDGED) return this.#acknowledgedAt;
    if (this.#unacknowledged >= this.#limits.ackBytes) return this.#acknowledgedAt + MIN_INTERVAL_MS;
    return this.#oldestUnacknowledgedAt + this.#limits.ackDelayMs;
  }

  acknowledged(now: Instant): void {
    this.#unacknowledged = 0;
    this.#acknowledgedAt = now;
  }
}

const MIN_INTERVAL_MS = 5;
const MAX_UNACKNOWLEDGED = 1024 * 1024;
