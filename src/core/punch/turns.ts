import type { Instant } from '../machine.ts';
import type { SessionRole } from '../session/role.ts';

/*
 * Slots of the shared grid, in turn: both dial; then one end listens where it has dialled before while the other
 * dials, which needs no common clock (connect-then-listen); then the other way round:
 *
 *      T0                              8               12              16 = 0
 *      | both dial                     | responder     | initiator     | both dial …
 *      |                               | listens       | listens       |
 */
const BOTH_DIAL_SLOTS = 8;
const ONE_LISTENS_SLOTS = 4;
const CYCLE_SLOTS = BOTH_DIAL_SLOTS + 2 * ONE_LISTENS_SLOTS;

/**
 * What two held ports do when, agreed upon without a word: both ends count slots of the same length from the same T0.
 * A slot is long enough for a SYN to cross and for the other's to come (measured: on a 100 ms grid at 80 ms RTT the
 * two never met).
 */
export class Turns {
  readonly #startAt: Instant;
  readonly #slotMs: number;

  constructor(startAt: Instant, roundTripMs: number) {
    this.#startAt = startAt;
    this.#slotMs = Math.max(250, 2 * roundTripMs + 50);
  }

  /** Which end listens on its held port now; `undefined` while both dial. */
  listener(now: Instant): SessionRole | undefined {
    const slot = this.#slot(now) % CYCLE_SLOTS;
    if (slot < BOTH_DIAL_SLOTS) return undefined;
    return slot < BOTH_DIAL_SLOTS + ONE_LISTENS_SLOTS ? 'responder' : 'initiator';
  }

  /** When the next slot begins; an end that dials does so then. */
  nextSlotAt(now: Instant): Instant {
    return now < this.#startAt ? this.#startAt : this.#beginOf(this.#slot(now) + 1);
  }

  /** When who listens is to be looked at again. */
  nextTurnAt(now: Instant): Instant {
    return this.#beginOf((Math.floor(this.#slot(now) / ONE_LISTENS_SLOTS) + 1) * ONE_LISTENS_SLOTS);
  }

  /** What is before T0 counts as the first slot. */
  #slot(now: Instant): number {
    return Math.max(0, Math.floor((now - this.#startAt) / this.#slotMs));
  }

  #beginOf(slot: number): Instant {
    return this.#startAt + slot * this.#slotMs;
  }
}
