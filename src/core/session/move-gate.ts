import type { Instant } from '../machine.ts';

/**
 * Limits how often a session moves to a better path: once in 10 s, and half as often after each move that failed,
 * down to once in 5 minutes. Falling back never asks it.
 */
export class MoveGate {
  /** A share of the one move that may be in hand, at `#countedAt`. */
  #inHand = 1;
  #countedAt: Instant = -Infinity;
  #movedAt: Instant | undefined;
  #intervalMs = MIN_INTERVAL_MS;

  /** When the next move is allowed; the first is allowed at once. */
  get opensAt(): Instant {
    return this.#inHand >= 1 ? -Infinity : this.#countedAt + (1 - this.#inHand) * this.#intervalMs;
  }

  moved(now: Instant): void {
    this.#count(now);
    this.#inHand -= 1;
    this.#movedAt = now;
  }

  /** The path moved to has died: the move failed, unless the path had lasted. */
  died(now: Instant): void {
    this.#count(now);
    const lasted = this.#movedAt === undefined || now - this.#movedAt >= LASTED_MS;
    this.#intervalMs = lasted ? MIN_INTERVAL_MS : Math.min(2 * this.#intervalMs, MAX_INTERVAL_MS);
  }

  #count(now: Instant): void {
    if (this.#countedAt > -Infinity) {
      const earned = (now - this.#countedAt) / this.#intervalMs;
      this.#inHand = Math.min(1, this.#inHand + earned);
    }
    this.#countedAt = now;
  }
}

const MIN_INTERVAL_MS = 10_000;
const MAX_INTERVAL_MS = 300_000;
/** A path that carried the session for so long was worth moving to. */
const LASTED_MS = 10_000;
