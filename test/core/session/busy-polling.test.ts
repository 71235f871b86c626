import { beforeEach, describe, expect, it } from 'vitest';
import { BusyPolling } from '../../../src/core/session/busy-polling.ts';

const MICROSECOND = 0.001;
const ASLEEP = 100 * MICROSECOND;
const AWAKE = 25 * MICROSECOND;

describe('busy polling', () => {
  let polling: BusyPolling;
  let now: number;

  beforeEach(() => {
    polling = new BusyPolling();
    now = 1000;
  });

  /** A byte leaves and one comes in so much later. Returns for how long it would have been awaited awake. */
  const exchange = (wait: number): number => {
    const until = polling.sent(30, now);
    const sentAt = now;
    now += wait;
    polling.received(30, now);
    now += MICROSECOND;
    return until === undefined ? 0 : until - sentAt;
  };
  const exchanges = (count: number, wait: number): number[] =>
    Array.from({ length: count }, () => exchange(wait));
  /** How many answers it awaits asleep before it is awake; at most two thousand. */
  const untilAwake = (wait: number): number => {
    let count = 0;
    while (exchange(wait) === 0 && count < 2000) count += 1;
    return count;
  };

  it('awaits answers awake in the middle of a rapid exchange, for no longer than four took asleep', () => {
    expect(exchanges(8, ASLEEP)).toStrictEqual(Array<number>(8).fill(0));
    expect(exchange(AWAKE)).toBeCloseTo(4 * ASLEEP);
    expect(exchanges(10_000, AWAKE)).not.toContain(0);
  });

  it('sleeps where answers come from afar', () => {
    expect(untilAwake(1)).toBe(2000);
    for (let n = 0; n < 1000; n += 1) {
      // With each that comes from near three do.
      expect(exchange(ASLEEP)).toBe(0);
      expect(exchanges(3, 1)).toStrictEqual([0, 0, 0]);
    }
  });

  it('takes an answer now and then that stood still for no other exchange', () => {
    exchanges(7, ASLEEP);
    exchange(1);
    expect(exchanges(5, ASLEEP)).toStrictEqual(Array<number>(5).fill(0));
    expect(exchange(AWAKE)).toBeCloseTo(4 * ASLEEP);
  });

  it('sleeps where much goes one way and is acknowledged now and then', () => {
    for (let acknowledged = 0; acknowledged < 100; acknowledged += 1) {
      for (let sent = 0; sent < 100; sent += 1) {
        expect(polling.sent(100, now)).toBeUndefined();
        now += 0.1;
      }
      polling.received(30, now);
    }
  });

  it('ends with a long message in either direction, and begins again as soon', () => {
    for (const long of ['sent', 'received'] as const) {
      expect(untilAwake(ASLEEP)).toBe(8);
      exchanges(100, AWAKE);
      polling[long](16_384, now);
      expect(exchange(ASLEEP)).toBe(0);
      exchanges(7, ASLEEP);
      expect(exchange(AWAKE)).toBeGreaterThan(0);
      polling[long](16_384, now);
    }
  });

  it('stays awake over a moment in which either end stood still', () => {
    untilAwake(ASLEEP);
    for (let round = 0; round < 100; round += 1) {
      exchange(1);
      expect(exchanges(20, AWAKE)).not.toContain(0);
    }
  });

  it('waits in vain three times at most, and begins again sooner if it had paid, once', () => {
    untilAwake(ASLEEP);
    exchanges(200, AWAKE);
    for (const wanted of [2, 4, 8]) {
      expect(exchanges(10, 50).filter((awake) => awake > 0)).toHaveLength(3);
      expect(untilAwake(ASLEEP)).toBe(wanted);
    }
  });

  it('begins again with what it knew of answers asleep', () => {
    untilAwake(ASLEEP);
    exchanges(200, AWAKE);
    exchanges(10, 50);
    exchanges(2, 2 * ASLEEP);
    expect(exchange(AWAKE)).toBeCloseTo(4 * ASLEEP);
  });

  it('gives up where it is no quicker, and waits the longer to try again', () => {
    const asked = [];
    for (let attempt = 0; attempt < 10; attempt += 1) {
      asked.push(untilAwake(ASLEEP));
      expect(exchanges(63, ASLEEP).filter((awake) => awake > 0).length).toBe(63);
    }
    expect(asked).toStrictEqual([8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024]);
  });

  it('costs next to nothing where being awake keeps the other end from answering', () => {
    let asleep = 0;
    let wasted = 0;
    while (asleep < 100_000) {
      const patience = polling.sent(30, now) === undefined ? 0 : 4 * ASLEEP;
      asleep += patience === 0 ? 1 : 0;
      wasted += patience;
      now += ASLEEP + patience;
      polling.received(30, now);
    }
    expect(wasted / (asleep * ASLEEP)).toBeLessThan(0.02);
  });
});
