import type { Instant } from '../machine.ts';
import { WindowedMin } from './windowed.ts';

/**
 * The round trip of a path without what this end itself has queued on it (BBR's min_rtt,
 * draft-cardwell-iccrg-bbr-congestion-control §4.3.4). Any sample may lower it. Only samples that were taken while next
 * to nothing of ours was on the way may raise it, two of them at least five seconds apart: then the route has become
 * longer, or others fill a queue on it.
 */
export class BaseRoundTrip {
  readonly #shortest = new WindowedMin();
  #least: number | undefined;

  /** Milliseconds; `undefined` until measured. */
  get ms(): number | undefined {
    const ms = this.#shortest.value;
    return ms === Infinity ? undefined : ms;
  }

  /** The shortest ever. */
  get least(): number | undefined {
    return this.#least;
  }

  /** It has been shorter: a queue that others made may have gone again. */
  get raised(): boolean {
    return this.ms !== undefined && this.ms > RAISED * this.#least!;
  }

  /** The last sample that could have raised it is so old that another is worth a pause. */
  isStale(now: Instant): boolean {
    return this.#shortest.isOver(now);
  }

  /** @param undisturbed nothing of ours stood in a queue when it was taken */
  sample(ms: number, undisturbed: boolean, now: Instant): void {
    if (undisturbed && this.isStale(now)) this.#shortest.beginSpan(now);
    this.#shortest.note(ms);
    this.#least = Math.min(this.#least ?? ms, ms);
  }
}

const RAISED = 1.5;
