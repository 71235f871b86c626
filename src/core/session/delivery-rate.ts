import type { Instant } from '../machine.ts';

/**
 * How fast a path delivers: the highest rate seen lately, from acknowledgements (as in BBR,
 * draft-cardwell-iccrg-bbr-congestion-control §4.1). A sender with little to say measures too low, so the maximum of
 * two spans counts, and a span ends only while the path was kept busy.
 */
export class DeliveryRate {
  /** Bytes acknowledged on this path, ever. */
  delivered = 0;
  #current = 0;
  #previous = 0;
  #spanEndsAt: Instant = 0;
  #wasBusy = false;

  /** Bytes per millisecond; `undefined` until something was acknowledged. */
  get bytesPerMs(): number | undefined {
    const rate = Math.max(this.#current, this.#previous);
    return rate === 0 ? undefined : rate;
  }

  /** The same; `undefined` as well while only a sender with little to say has measured it. */
  get provenBytesPerMs(): number | undefined {
    return this.#wasBusy ? this.bytesPerMs : undefined;
  }

  /** A frame sent at `sentAt`, when `deliveredBefore` bytes had been, is acknowledged now. */
  sample(deliveredBefore: number, sentAt: Instant, now: Instant, busy: boolean): void {
    const rate = (this.delivered - deliveredBefore) / Math.max(1, now - sentAt);
    this.#wasBusy ||= busy;
    if (busy && now >= this.#spanEndsAt) {
      this.#previous = this.#current;
      this.#current = 0;
      this.#spanEndsAt = now + SPAN_MS;
    }
    this.#current = Math.max(this.#current, rate);
  }
}

const SPAN_MS = 5000;
