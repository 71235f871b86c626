import assert from 'node:assert';
import type { Departure } from './delivery-rate.ts';
import { Fifo } from './fifo.ts';
import { protocolError } from './frame.ts';
import type { SendBudget } from './send-budget.ts';

/** A reliable frame as it went out: header first, then the payload by reference. */
export interface SentFrame extends Departure {
  readonly chunks: readonly Uint8Array[];
  /** Header and payload. */
  readonly bytes: number;
  /** Anything but DATA; DATA is bounded by the peer's window instead. */
  readonly control: boolean;
}

/** The reliable frames that the peer has not acknowledged, oldest first, ready to be sent again on another path. */
export class ResendBuffer {
  readonly #budget: SendBudget;
  readonly #frames = new Fifo<SentFrame>();
  #first = 0;
  #bytes = 0;
  #controlBytes = 0;

  constructor(budget: SendBudget) {
    this.#budget = budget;
  }

  /** The sequence number of the oldest unacknowledged frame. */
  get first(): number {
    return this.#first;
  }

  /** The sequence number that the next new frame gets. */
  get next(): number {
    return this.#first + this.#frames.length;
  }

  /** Bytes that the process may still hold for all its sessions. */
  get left(): number {
    return this.#budget.left;
  }

  get controlBytes(): number {
    return this.#controlBytes;
  }

  /** Bytes of the oldest unacknowledged frame, 0 where there is none. */
  get oldestBytes(): number {
    return this.#frames.at(0)?.bytes ?? 0;
  }

  append(frame: SentFrame): void {
    this.#frames.push(frame);
    this.#bytes += frame.bytes;
    this.#budget.hold(frame.bytes);
    if (frame.control) this.#controlBytes += frame.bytes;
  }

  at(sequence: number): SentFrame {
    const frame = this.#frames.at(sequence - this.#first);
    assert(frame, 'a frame that was acknowledged, or never sent, was asked for');
    return frame;
  }

  /** Throws `PROTOCOL_ERROR` for an acknowledgement of what was never sent. */
  checkAcknowledgement(next: number): void {
    if (next > this.next)
      throw protocolError(`it acknowledged frame ${next - 1}, ${this.next - 1} is the last`);
  }

  /** Forgets the oldest frame and hands it back. */
  release(): SentFrame {
    const frame = this.#frames.shift();
    assert(frame, 'nothing is left to acknowledge');
    this.#first += 1;
    this.#bytes -= frame.bytes;
    this.#budget.release(frame.bytes);
    if (frame.control) this.#controlBytes -= frame.bytes;
    return frame;
  }

  /** Gives the session's share of the process budget back. */
  dispose(): void {
    this.#budget.release(this.#bytes);
  }
}
