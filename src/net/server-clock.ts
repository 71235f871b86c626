import { systemClock, type Clock } from './clock.ts';

/**
 * The time of a rendezvous: milliseconds since 1970 as this process began, counted monotonically from there. So
 * tickets and attestations outlive a restart, and setting the system's clock moves none of them.
 */
export function serverTime(): number {
  return performance.timeOrigin + performance.now();
}

export const serverClock: Clock = {
  now: serverTime,
  setTimer: (fn, ms) => systemClock.setTimer(fn, ms),
};
