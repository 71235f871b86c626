import type { Instant } from '../machine.ts';

/**
 * Tells round trips from the time for which a path stood still. A carrier repeats what was lost after a second or more,
 * and what it holds up meanwhile comes as late; that says nothing of the way (RFC 6298 §3, Karn's algorithm), but would
 * have every later silence waited for as long. Repetitions don't show from here, so silence and lateness are judged by.
 */
export class Standstill {
  #endedAt: Instant = -Infinity;
  /** So many answers in a row were late; with `LATE_ANSWERS` the way has become longer. */
  #late = 0;

  /** Something has come through after a silence. */
  ended(now: Instant): void {
    this.#endedAt = now;
  }

  /** What was sent then was on its way during the last silence. */
  heldUp(sentAt: Instant): boolean {
    return sentAt < this.#endedAt;
  }

  /** An answer came after so long: so late of a sudden that only others can tell whether that was a silence. */
  suspects(ms: number, usualMs: number, now: Instant): boolean {
    const late = ms > Math.max(LATE_MS, LATE_ROUND_TRIPS * usualMs);
    this.#late = late ? this.#late + 1 : 0;
    const sudden = late && this.#late < LATE_ANSWERS;
    if (sudden) this.ended(now);
    return sudden;
  }
}

/** As long as a silence may last before the sending path is doubted. */
const LATE_MS = 750;
const LATE_ROUND_TRIPS = 1.5;
/** Cuts that follow one another hold up two in a row easily: the second is asked for as the first comes in. */
const LATE_ANSWERS = 3;
