import type { Instant } from '../machine.ts';
import { heldUpMs, jittered, probeOffset, repeatOffset } from './schedule.ts';

/** What a pair's probes depend on when the next one is planned. */
export interface PacingTerms {
  /** Somebody other than the peer vouched for the address. */
  readonly attested: boolean;
  /** This end has no answer yet. */
  readonly searching: boolean;
  /** A number from 0 to 1. */
  readonly fraction: () => number;
}

/**
 * When one pair's next probe is due (RFC 8445 §14): along the search's schedule, which counts from T0, or, once the two
 * ends were in contact, along the repetitions', which counts from that (`schedule.ts`).
 */
export class ProbePacing {
  #isRepeating = false;
  /** What the schedule counts from. */
  #origin: Instant = 0;
  /** Position in the schedule that `#nextAt` belongs to. */
  #step = 0;
  #nextAt: Instant | undefined;

  get nextAt(): Instant | undefined {
    return this.#nextAt;
  }

  /** @param startAt not over yet */
  search(startAt: Instant, terms: PacingTerms): void {
    this.#begin(false, startAt, 0);
    this.#plan(terms, startAt);
  }

  /** The contact itself was repetition 0. */
  repeat(contactAt: Instant, terms: PacingTerms): void {
    this.#begin(true, contactAt, 1);
    this.#plan(terms, contactAt);
  }

  /**
   * The probe that was due was sent. Where that was late, as in a process that was kept from running, those that follow
   * are as much later: all that are overdue at once would be lost, or of no use, together.
   */
  next(terms: PacingTerms, now: Instant): void {
    this.#origin += heldUpMs(this.#nextAt, now);
    this.#step++;
    this.#plan(terms, now);
  }

  stop(): void {
    this.#nextAt = undefined;
  }

  #begin(isRepeating: boolean, origin: Instant, step: number): void {
    this.#isRepeating = isRepeating;
    this.#origin = origin;
    this.#step = step;
  }

  #plan({ attested, searching, fraction }: PacingTerms, now: Instant): void {
    const offset = this.#isRepeating
      ? repeatOffset(this.#step, searching && attested)
      : probeOffset(this.#step, attested);
    this.#nextAt =
      offset === undefined
        ? undefined
        : Math.max(now, this.#origin + jittered(offset, attested ? fraction() : 0));
  }
}
