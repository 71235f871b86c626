import type { Instant } from './machine.ts';

/** A token bucket that a debt may empty below zero: what has been spent already is paid for by waiting. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #since: Instant;

  constructor(perSecond: number, burst: number, now: Instant) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#since = now;
  }

  /** Takes `count` tokens if they are there. */
  take(now: Instant, count = 1): boolean {
    this.#refill(now);
    if (this.#tokens < count) return false;
    this.#tokens -= count;
    return true;
  }

  /** Takes `count` tokens, there or not. */
  spend(now: Instant, count: number): void {
    this.#refill(now);
    this.#tokens -= count;
  }

  /** What was taken last has turned out to cost nothing. */
  giveBack(): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + 1);
  }

  /** When the debt will be paid; `now` when there is none. */
  solventAt(now: Instant): Instant {
    this.#refill(now);
    return this.#tokens >= 0 ? now : now + Math.ceil((-this.#tokens * 1_000) / this.#perSecond);
  }

  /** A full bucket holds no memory of anybody. */
  isFull(now: Instant): boolean {
    this.#refill(now);
    return this.#tokens >= this.#burst;
  }

  #refill(now: Instant): void {
    const elapsed = Math.max(0, now - this.#since);
    this.#tokens = Math.min(this.#burst, this.#tokens + (elapsed * this.#perSecond) / 1_000);
    this.#since = now;
  }
}

export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

/** One token bucket per key, in bounded memory: beyond `capacity` keys the one unused for longest is forgotten. */
export class RateLimiter {
  readonly #limit: RateLimit;
  readonly #capacity: number;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(limit: RateLimit, capacity = 16_384) {
    this.#limit = limit;
    this.#capacity = capacity;
  }

  take(key: string, now: Instant): boolean {
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#limit.perSecond, this.#limit.burst, now);
    const taken = bucket.take(now);
    this.#buckets.delete(key); // and in again at the end, as the one used last
    this.#buckets.set(key, bucket);
    this.#forgetOldest(now);
    return taken;
  }

  /** The last one taken under `key` is there again. */
  giveBack(key: string): void {
    this.#buckets.get(key)?.giveBack();
  }

  /** As if nothing had been taken under `key`. */
  forget(key: string): void {
    this.#buckets.delete(key);
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Drops the oldest entries: those that are full again, and any beyond the capacity. */
  #forgetOldest(now: Instant): void {
    for (const [key, bucket] of this.#buckets) {
      if (this.#buckets.size <= this.#capacity && !bucket.isFull(now)) return;
      this.#buckets.delete(key);
    }
  }
}
