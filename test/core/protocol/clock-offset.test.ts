import { expect, it } from 'vitest';
import { ClockOffset } from '../../../src/core/protocol/clock-offset.ts';

it('takes the offset from the quickest of the last eight round trips', () => {
  const clock = new ClockOffset();
  expect(clock.offsetMs).toBe(undefined);
  clock.add(0, 10, 1_005);
  clock.add(100, 400, 1_350);
  expect([clock.offsetMs, clock.rttMs]).toEqual([1_000, 10]);
  for (let sent = 1_000; sent < 8_000; sent += 1_000) clock.add(sent, sent + 20, sent + 510);
  expect([clock.offsetMs, clock.rttMs]).toEqual([500, 20]);
});
