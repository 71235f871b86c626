import type { Instant } from '../machine.ts';
import type { Departure } from './delivery-rate.ts';
import { WindowedMax } from './windowed.ts';

/**
 * How long acknowledgements have lately stayed away at most, although the path was full: a busy machine did not read,
 * or what came later waited for a lost packet. So much more has to be in flight for the path to stay full meanwhile
 * (BBR's extra_acked, draft-cardwell-iccrg-bbr-congestion-control §4.5.5, in time instead of bytes).
 */
export class AckGaps {
  readonly #longest = new WindowedMax();
  #lastAt: Instant = -Infinity;
  #steadyFrom: Instant = -Infinity;

  /** The longest of the last two spans of five seconds. */
  get ms(): number {
    return this.#longest.value;
  }

  /** From now on the path is filled anew: the first round trip has its gap for that reason. */
  restart(now: Instant): void {
    this.#steadyFrom = now;
  }

  /** @param full the path was given all that it may have in flight */
  note(newest: Departure, now: Instant, full: boolean): void {
    const gap = now - this.#lastAt;
    this.#lastAt = now;
    if (this.#longest.isOver(now)) this.#longest.beginSpan(now);
    if (full && newest.deliveredAt > this.#steadyFrom) this.#longest.note(gap);
  }
}
