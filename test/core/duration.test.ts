import { describe, expect, it } from 'vitest';
import { parseDuration } from '../../src/core/duration.ts';

describe('a duration', () => {
  it.each([
    ['500ms', 500],
    ['25s', 25_000],
    ['1.5m', 90_000],
    ['1h', 3_600_000],
  ])('%s is understood', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it('without a unit is one only where the unit is known', () => {
    expect(parseDuration('25')).toBeUndefined();
    expect(parseDuration('25', 's')).toBe(25_000);
    expect(parseDuration('25ms', 's')).toBe(25);
  });

  it.each(['', 's', '-1s', '1 s', '1d', '1.s', '1e3', 'Infinity'])('is not %j', (text) => {
    expect(parseDuration(text, 's')).toBeUndefined();
  });
});
