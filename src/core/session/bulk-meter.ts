import type { Instant } from '../machine.ts';
import { ZERO } from '../zero.ts';

/** Tells bulk from conversation: a megabyte within a second, at some time in the last minute. */
export class BulkMeter {
  #spanEndsAt: Instant = ZERO;
  #bytes = 0;
  #bulkUntil: Instant = -Infinity;

  add(bytes: number, now: Instant): void {
    if (now >= this.#spanEndsAt) {
      this.#bytes = 0;
      this.#spanEndsAt = now + SPAN_MS;
    }
    this.#bytes += bytes;
    if (this.#bytes >= BULK_BYTES) this.#bulkUntil = now + REMEMBERED_MS;
  }

  isBulk(now: Instant): boolean {
    return now < this.#bulkUntil;
  }
}

const SPAN_MS = 1000;
const BULK_BYTES = 1024 * 1024;
const REMEMBERED_MS = 60_000;
