import { ZERO } from '../zero.ts';
import type { Instant } from '../machine.ts';
import { WindowedMax } from './windowed.ts';

/** What a frame notes of its path as it goes out, for the sample that its acknowledgement gives. */
export interface Departure {
  sentAt: Instant;
  /** Bytes that the path had delivered by then, … */
  deliveredBefore: number;
  /** … since when, … */
  deliveredAt: Instant;
  /** … and when the last of them had gone out. */
  deliveredSentAt: Instant;
}

/**
 * How fast a path delivers: the highest rate seen lately, from acknowledgements (as in BBR,
 * draft-cardwell-iccrg-bbr-congestion-control §4.1). A sender with little to say measures too low, so the maximum of
 * two spans counts, and a span ends only while the path was kept busy.
 */
export class DeliveryRate {
  /** Bytes acknowledged on this path, ever. */
  #delivered = ZERO;
  #deliveredAt: Instant = ZERO;
  #deliveredSentAt: Instant = ZERO;
  readonly #highest = new WindowedMax();
  /** Of the samples of a busy path, the latest weighing an eighth. `Infinity`: none yet. */
  #recent = Infinity;
  #wasBusy = false;
  /** Full rounds of a busy path since the rate last grew by a quarter over what it was then. */
  #plateauRounds = 0;
  #plateau = ZERO;
  /** Bytes delivered by then. */
  #roundEndsAt = ZERO;

  /** Bytes per millisecond; `undefined` until something was acknowledged. */
  get bytesPerMs(): number | undefined {
    const rate = this.#highest.value;
    return rate === 0 ? undefined : rate;
  }

  /** The same; `undefined` as well while only a sender with little to say has measured it. */
  get provenBytesPerMs(): number | undefined {
    return this.#wasBusy ? this.bytesPerMs : undefined;
  }

  /** Given enough to carry, the path has of late been slower by a fifth. */
  get fallen(): boolean {
    return this.#recent < FALLEN * (this.bytesPerMs ?? 0);
  }

  /** The path's own rate is yet to be found: given more to carry, it has gone faster until just now (§4.3.1.2, "full pipe"). */
  get growing(): boolean {
    return this.#plateauRounds < PLATEAU_ROUNDS;
  }

  /** @param idle nothing else is in flight, so that the time until now says nothing of the path */
  depart(frame: Departure, now: Instant, idle: boolean): void {
    if (idle) {
      this.#deliveredAt = now;
      this.#deliveredSentAt = now;
    }
    frame.sentAt = now;
    frame.deliveredBefore = this.#delivered;
    frame.deliveredAt = this.#deliveredAt;
    frame.deliveredSentAt = this.#deliveredSentAt;
  }

  deliver(bytes: number): void {
    this.#delivered += bytes;
  }

  /**
   * The newest frame of those that one acknowledgement covers. What a hole had held back is delivered all at once, so the
   * bytes count over the time in which they came or the one in which they were sent, whichever is longer.
   */
  sample(frame: Departure, now: Instant, busy: boolean): void {
    const { sentAt, deliveredBefore, deliveredAt, deliveredSentAt } = frame;
    const ms = Math.max(1, now - deliveredAt, sentAt - deliveredSentAt);
    const rate = (this.#delivered - deliveredBefore) / ms;
    this.#deliveredAt = now;
    this.#deliveredSentAt = sentAt;
    this.#wasBusy ||= busy;
    if (busy && this.#highest.isOver(now)) this.#highest.beginSpan(now);
    this.#highest.note(rate);
    if (busy) this.#recent = this.#recent === Infinity ? rate : this.#recent + (rate - this.#recent) / 8;
    if (busy && deliveredBefore >= this.#roundEndsAt) this.#endRound();
  }

  #endRound(): void {
    this.#roundEndsAt = this.#delivered;
    const rate = this.#highest.value;
    this.#plateauRounds += 1;
    if (rate < GROWTH * this.#plateau) return;
    this.#plateau = rate;
    this.#plateauRounds = 0;
  }
}

const FALLEN = 0.8;
const GROWTH = 1.25;
const PLATEAU_ROUNDS = 3;
