import type { Instant } from '../machine.ts';

/**
 * Tells round trips from the time for which a path stood still. A carrier repeats what was lost after a second or more,
 * and what it holds up meanwhile comes as late; that says nothing of the way (RFC 6298 §3, Karn's algorithm), but would
 * have every later silence waited for as long. Repetitions don't show from here, so silence and lateness are judged by.
 */
export class Standstill {
  #endedAt: Instant = -Infinity;
  /** The last answer was late of a sudden; if the next is late as well, the way has become longer. */
  #wasLate = false;

  /** Something has come through after a silence. */
  ended(now: Instant): void {
    this.#endedAt = now;
  }

  /** What was sent then was on its way during the last silence. */
  heldUp(sentAt: Instant): boolean {
    return sentAt < this.#endedAt;
  }

  /** An answer came after so long: so late of a sudden that only another can tell whether that was a silence. */
  suspects(ms: number, usualMs: number, now: Instant): boolean {
    const late = ms > Math.max(LATE_MS, LATE_ROUND_TRIPS * usualMs);
    const sudden = late && !this.#wasLate;
    this.#wasLate = late;
    if (sudden) this.ended(now);
    return sudden;
  }
}

/** As long as a silence may last before the sending path is doubted. */
const LATE_MS = 750;
const LATE_ROUND_TRIPS = 1.5;
