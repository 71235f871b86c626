import { systemClock, type Clock } from './clock.ts';

/**
 * The clock of a rendezvous: milliseconds since 1970 as this process began, counted monotonically from there. So
 * tickets and attestations outlive a restart, and setting the system's clock moves none of them.
 */
export const serverClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  setTimer: (fn, ms) => systemClock.setTimer(fn, ms),
};
