import assert from 'node:assert';
import { ZERO } from '../zero.ts';
import type { Instant } from '../machine.ts';
import { protocolError } from './frame.ts';

/** What all windows of a process may promise together; shared by its sessions. */
export class WindowBudget {
  readonly #limit: number;
  #promised = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get promised(): number {
    return this.#promised;
  }

  /** False where it would exceed the limit, unless `force`: a session's first window is always granted. */
  reserve(bytes: number, force = false): boolean {
    if (!force && this.#promised + bytes > this.#limit) return false;
    this.#promised += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#promised -= bytes;
    assert(this.#promised >= 0, 'more window was released than promised');
  }
}

/**
 * A receive window in absolute offsets. It doubles, up to a maximum, whenever a whole window is consumed within two
 * round trips: then the window, not the path or the reader, is what holds the sender back.
 */
export class ReceiveWindow {
  readonly #max: number;
  readonly #budget: WindowBudget | undefined;
  #size: number;
  #received = ZERO;
  #consumed = ZERO;
  /** The offset up to which the peer may send. */
  #granted = ZERO;
  /** Where and when the current measurement of a window's worth began. */
  #markOffset = ZERO;
  #markAt: Instant | undefined;

  constructor(initial: number, max: number, budget?: WindowBudget) {
    this.#size = initial;
    this.#granted = initial;
    this.#max = Math.max(initial, max);
    this.#budget = budget;
  }

  get size(): number {
    return this.#size;
  }

  get received(): number {
    return this.#received;
  }

  /** Received and not yet consumed. */
  get unread(): number {
    return this.#received - this.#consumed;
  }

  /** Throws `PROTOCOL_ERROR` where the peer sent more than it was granted. */
  receive(bytes: number, now: Instant): void {
    this.#markAt ??= now;
    this.#received += bytes;
    if (this.#received > this.#granted) throw protocolError('it sent more than its window');
  }

  consume(bytes: number, now: Instant, rttMs: number): void {
    this.#consumed += bytes;
    assert(this.#consumed <= this.#received, 'more was consumed than received');
    if (this.#consumed - this.#markOffset < this.#size) return;
    const took = now - (this.#markAt ?? now);
    this.#markOffset = this.#consumed;
    this.#markAt = now;
    if (took <= Math.max(2 * rttMs, FASTEST_WINDOW_MS)) this.grow();
  }

  /** Counts as consumed without saying anything of the reader's pace. */
  discard(bytes: number): void {
    this.#consumed += bytes;
    this.#markOffset += bytes;
  }

  /** A quarter of the window can be granted anew: worth a WINDOW frame. */
  get due(): boolean {
    return this.#consumed + this.#size - this.#granted >= this.#size / 4;
  }

  /** The new absolute offset to grant. */
  grant(): number {
    this.#granted = this.#consumed + this.#size;
    return this.#granted;
  }

  /** Doubles, as far as maximum and budget allow. */
  grow(): void {
    const larger = Math.min(this.#max, 2 * this.#size);
    if (larger === this.#size) return;
    if (this.#budget && !this.#budget.reserve(larger - this.#size)) return;
    this.#size = larger;
  }
}

/** Below this the turns of two event loops, not round trips, set the pace; and on a fast path a window's worth costs a frame each way. */
const FASTEST_WINDOW_MS = 50;
