import type { Instant } from '../machine.ts';

/** When one request is transmitted, in milliseconds after its first transmission; the first is 0. */
export type TransmissionSchedule = readonly number[];

/** Within a discovery of 1.5 s (RFC 8489 §6.2.1 would start at 500 ms: too slow to wait for). */
export const REQUEST_SCHEDULE: TransmissionSchedule = [0, 100, 300, 700, 1_000];

/**
 * One STUN request and its retransmissions, all with the same transaction id (RFC 8489 §6.2.1).
 * Whoever owns it sends at each due time and decides how long silence has to last.
 */
export class Transaction {
  readonly startedAt: Instant;
  readonly #schedule: TransmissionSchedule;
  #transmissions = 0;
  #lastSentAt: Instant | undefined;
  #answeredAt: Instant | undefined;

  constructor(startedAt: Instant, schedule: TransmissionSchedule = REQUEST_SCHEDULE) {
    this.startedAt = startedAt;
    this.#schedule = schedule;
  }

  get transmissions(): number {
    return this.#transmissions;
  }

  get isAnswered(): boolean {
    return this.#answeredAt !== undefined;
  }

  /**
   * Milliseconds from the first transmission to the answer: never less than the true round trip, which is the
   * safe side for waiting. `undefined` until answered.
   */
  get roundTripMs(): number | undefined {
    return this.#answeredAt === undefined ? undefined : this.#answeredAt - this.startedAt;
  }

  /** When the next transmission is due; `undefined` once answered or spent. */
  get nextTransmission(): Instant | undefined {
    const offset = this.#schedule[this.#transmissions];
    return this.isAnswered || offset === undefined ? undefined : this.startedAt + offset;
  }

  /** True once for each transmission that is due: the caller sends. Several overdue ones become one. */
  takeTransmission(now: Instant): boolean {
    if (this.nextTransmission === undefined || this.nextTransmission > now) return false;
    while (this.nextTransmission !== undefined && this.nextTransmission <= now) this.#transmissions++;
    this.#lastSentAt = now;
    return true;
  }

  answer(now: Instant): void {
    this.#answeredAt ??= now;
  }

  /** When silence has lasted `patienceMs` since the last transmission; `undefined` before that was sent. */
  silentAt(patienceMs: number): Instant | undefined {
    if (this.isAnswered || this.nextTransmission !== undefined || this.#lastSentAt === undefined) {
      return undefined;
    }
    return this.#lastSentAt + patienceMs;
  }
}
