import { describe, expect, test } from 'vitest';
import { WindowedMax, WindowedMin } from '../../../src/core/session/windowed.ts';

describe('a windowed extreme', () => {
  test('is told before anything was noted, as none', () => {
    expect(new WindowedMax().value).toBe(-0);
    expect(new WindowedMin().value).toBe(Infinity);
  });

  test('of the samples of one span is the greatest, or the least', () => {
    const max = new WindowedMax();
    const min = new WindowedMin();
    for (const sample of [3, 7, 5]) {
      max.note(sample);
      min.note(sample);
    }
    expect([max.value, min.value]).toEqual([7, 3]);
  });

  test('outlives the span in which it was noted by one more', () => {
    const max = new WindowedMax();
    max.beginSpan(0);
    max.note(7);
    max.beginSpan(5000);
    max.note(5);
    expect(max.value).toBe(7);
    max.beginSpan(10_000);
    expect(max.value).toBe(5);
    max.beginSpan(15_000);
    expect(max.value).toBe(-0);
  });

  test('of the least kind likewise', () => {
    const min = new WindowedMin();
    min.beginSpan(0);
    min.note(5);
    min.beginSpan(5000);
    min.note(7);
    expect(min.value).toBe(5);
    min.beginSpan(10_000);
    expect(min.value).toBe(7);
  });

  test('has spans of five seconds, and at first one that is over', () => {
    const max = new WindowedMax();
    expect(max.isOver(0)).toBe(true);
    max.beginSpan(1000);
    expect(max.isOver(5999)).toBe(false);
    expect(max.isOver(6000)).toBe(true);
  });

  test('goes on with its span until the next is begun, however late', () => {
    const max = new WindowedMax();
    max.beginSpan(0);
    max.note(7);
    max.note(2);
    expect(max.isOver(60_000)).toBe(true);
    expect(max.value).toBe(7);
  });
});
