import { describe, expect, it } from 'vitest';
import { DeliveryRate, type Departure } from '../../../src/core/session/delivery-rate.ts';

const FRAME = 1000;

/** A sender that always has more to say, over a path that delivers `perMs` bytes a millisecond after `rttMs`. */
function busy(
  rate: DeliveryRate,
  { from, to }: { from: number; to: number },
  perMs: number,
  rttMs: number,
): void {
  const flying: Departure[] = [];
  const step = FRAME / perMs;
  for (let now = from; now < to; now += step) {
    const frame = departure();
    rate.depart(frame, now, flying.length === 0);
    flying.push(frame);
    if (flying[0]!.sentAt + rttMs <= now) acknowledge(rate, [flying.shift()!], now);
  }
}

function departure(): Departure {
  return { sentAt: 0, deliveredBefore: 0, deliveredAt: 0, deliveredSentAt: 0 };
}

function acknowledge(rate: DeliveryRate, frames: readonly Departure[], now: number): void {
  rate.deliver(frames.length * FRAME);
  rate.sample(frames.at(-1)!, now, true);
}

describe('the delivery rate of a path', () => {
  it('is what was acknowledged over the time that it took', () => {
    const rate = new DeliveryRate();
    expect(rate.bytesPerMs).toBeUndefined();
    busy(rate, { from: 0, to: 1000 }, 100, 50);
    expect(rate.bytesPerMs).toBeCloseTo(100, -1);
  });

  it('is not mistaken where a hole is filled and everything behind it is delivered in two gulps', () => {
    const rate = new DeliveryRate();
    busy(rate, { from: 0, to: 1000 }, 100, 100);
    const held = Array.from({ length: 50 }, (_, index) => {
      const frame = departure();
      rate.depart(frame, 1000 + index * 10, false);
      return frame;
    });
    acknowledge(rate, held.slice(0, 10), 1600);
    const after = departure();
    rate.depart(after, 1601, false); // it flies over an empty path, beside the acknowledgement of the second gulp
    acknowledge(rate, [...held.slice(10), after], 1701);
    expect(rate.bytesPerMs).toBeLessThan(110);
  });

  it('does not count the time in which nothing was to be said', () => {
    const rate = new DeliveryRate();
    busy(rate, { from: 10_000, to: 11_000 }, 100, 50);
    expect(rate.bytesPerMs).toBeCloseTo(100, -1);
  });

  it('grows until three rounds of a busy path have brought no more, and again when they do', () => {
    const rate = new DeliveryRate();
    expect(rate.growing).toBe(true);
    busy(rate, { from: 0, to: 50 }, 100, 50);
    expect(rate.growing).toBe(true);
    busy(rate, { from: 50, to: 1000 }, 100, 50);
    expect(rate.growing).toBe(false);
    busy(rate, { from: 1000, to: 1130 }, 200, 50);
    expect(rate.growing).toBe(true);
  });
});
