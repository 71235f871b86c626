import type { Instant } from '../core/machine.ts';

/** Where adapters get the time from; tests hand in one of their own. */
export interface Clock {
  /** Milliseconds, monotonic. */
  now(): Instant;
  /** Calls `fn` once after `ms`; the function returned cancels it. A timer alone does not keep the process alive. */
  setTimer(fn: () => void, ms: number): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer(fn, ms) {
    const timer = setTimeout(fn, Math.min(Math.max(0, Math.ceil(ms)), MAX_DELAY_MS));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** `setTimeout` fires at once for anything longer. */
const MAX_DELAY_MS = 2 ** 31 - 1;
