import { addressBytes } from '../address.ts';
import type { Instant } from '../machine.ts';

export interface RateTableOptions {
  /** Tokens that come back each second, for each slot. */
  readonly perSecond: number;
  /** Tokens that a slot holds at most. */
  readonly burst: number;
  /** Keeps strangers from choosing whose slot they share; any secret number. */
  readonly seed: number;
  readonly slots?: number;
}

/** Token buckets in a table of fixed size: keys that hash alike share one, so no flood can make it grow. */
export class RateTable {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #seed: number;
  readonly #tokens: Float64Array;
  readonly #refilledAt: Float64Array;

  constructor({ perSecond, burst, seed, slots = 4_096 }: RateTableOptions) {
    this.#perMs = perSecond / 1_000;
    this.#burst = burst;
    this.#seed = seed;
    this.#tokens = new Float64Array(slots).fill(burst);
    this.#refilledAt = new Float64Array(slots);
  }

  /** Takes one token of the slot that `key` falls in; false when there is none. */
  take(key: Uint8Array, now: Instant): boolean {
    const slot = this.#hash(key) % this.#tokens.length;
    const elapsed = Math.max(0, now - this.#refilledAt[slot]!);
    const tokens = Math.min(this.#burst, this.#tokens[slot]! + elapsed * this.#perMs);
    this.#refilledAt[slot] = now;
    this.#tokens[slot] = tokens < 1 ? tokens : tokens - 1;
    return tokens >= 1;
  }

  /** FNV-1a. */
  #hash(key: Uint8Array): number {
    let hash = (0x811c9dc5 ^ this.#seed) >>> 0;
    for (const byte of key) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
    return hash;
  }
}

/** The network that one customer is given: a /24 of IPv4, a /56 of IPv6. */
export function networkOf(address: string): Uint8Array {
  const bytes = addressBytes(address);
  return bytes.subarray(0, bytes.length === 4 ? 3 : 7);
}
