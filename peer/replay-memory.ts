import { base64url } from '../src/core/bytes.ts';
import type { Clock } from '../src/net/clock.ts';

/** More than this within one window is an attack, and whatever is new is treated as seen. */
const CAPACITY = 16_384;

/** Remembers for a while what may be used once. */
export class ReplayMemory {
  #windowMs: number;
  #clock: Clock;
  /** In the order of arrival. */
  #seen = new Map<string, number>();

  constructor(windowMs: number, clock: Clock) {
    this.#windowMs = windowMs;
    this.#clock = clock;
  }

  /** True the first time within the window, as long as there is room to remember it. */
  isFirst(token: Uint8Array): boolean {
    const now = this.#clock.now();
    for (const [key, at] of this.#seen) {
      if (now - at <= this.#windowMs) break;
      this.#seen.delete(key);
    }
    const key = base64url(token);
    if (this.#seen.has(key) || this.#seen.size >= CAPACITY) return false;
    this.#seen.set(key, now);
    return true;
  }
}
