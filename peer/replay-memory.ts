import { base64url } from '../src/core/bytes.ts';
import type { Clock } from '../src/net/clock.ts';

/** Remembers for a while what may be used once. More than `capacity` within one window is an attack: what is new is treated as seen. */
export class ReplayMemory {
  #windowMs: number;
  #clock: Clock;
  #capacity: number;
  /** In the order of arrival. */
  #seen = new Map<string, number>();

  constructor(windowMs: number, capacity: number, clock: Clock) {
    this.#windowMs = windowMs;
    this.#capacity = capacity;
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
    if (this.#seen.has(key) || this.#seen.size >= this.#capacity) return false;
    this.#seen.set(key, now);
    return true;
  }
}
