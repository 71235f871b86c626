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
 * A receive window. What it counts from where the reader stands is never more than its size, so V8 keeps it as a small
 * integer, without an object of its own as for an offset. It doubles, up to a maximum, whenever a whole window is consumed within two
 * round trips: then the window, not the path or the reader, is what holds the sender back.
 */
export class ReceiveWindow {
  readonly #max: number;
  readonly #budget: WindowBudget | undefined;
  #size: number;
  /** The offset up to which the peer has sent. */
  #received = ZERO;
  /** Received and not yet consumed. */
  #unread = 0;
  /** What the peer may still send. */
  #credit: number;
  /** Consumed since the current measurement of a window's worth began, and when that was. */
  #measured = 0;
  #measuredSince: Instant | undefined;

  constructor(initial: number, max: number, budget?: WindowBudget) {
    this.#size = initial;
    this.#credit = initial;
    this.#max = Math.max(initial, max);
    this.#budget = budget;
  }

  get size(): number {
    return this.#size;
  }

  get received(): number {
    return this.#received;
  }

  get unread(): number {
    return this.#unread;
  }

  /** Throws `PROTOCOL_ERROR` where the peer sent more than it was granted. */
  receive(bytes: number, now: Instant): void {
    this.#measuredSince ??= now;
    this.#received += bytes;
    this.#unread += bytes;
    this.#credit -= bytes;
    if (this.#credit < 0) throw protocolError('it sent more than its window');
  }

  consume(bytes: number, now: Instant, rttMs: number): void {
    this.discard(bytes);
    this.#measured += bytes;
    if (this.#measured < this.#size) return;
    const took = now - (this.#measuredSince ?? now);
    this.#measured = 0;
    this.#measuredSince = now;
    if (took <= Math.max(2 * rttMs, FASTEST_WINDOW_MS)) this.grow();
  }

  /** Counts as consumed without saying anything of the reader's pace. */
  discard(bytes: number): void {
    this.#unread -= bytes;
    assert(this.#unread >= 0, 'more was consumed than received');
  }

  /** A quarter of the window can be granted anew: worth a WINDOW frame. */
  get due(): boolean {
    return this.#size - this.#unread - this.#credit >= this.#size / 4;
  }

  /** The new absolute offset to grant. */
  grant(): number {
    this.#credit = this.#size - this.#unread;
    return this.#received + this.#credit;
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
