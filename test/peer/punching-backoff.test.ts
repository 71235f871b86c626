import { expect, it } from 'vitest';
import { PunchingBackoff } from '../../peer/punching-backoff.ts';
import type { SessionRole } from '../../src/core/session/role.ts';
import { ManualClock } from './manual-clock.ts';

function begin(role: SessionRole = 'initiator') {
  const clock = new ManualClock();
  const tries: number[] = [];
  const backoff = new PunchingBackoff(role, clock, () => tries.push(clock.now()));
  return { clock, tries, backoff };
}

it('waits longer after each failure, and a quarter of an hour at last', () => {
  const { backoff } = begin();
  const pauses = Array.from({ length: 6 }, () => backoff.failed());
  expect(pauses).toEqual([2_000, 8_000, 60_000, 300_000, 900_000, 900_000]);
});

it('counts failures anew once things have changed', () => {
  const { backoff } = begin();
  backoff.failed();
  backoff.failed();
  backoff.reset();
  expect(backoff.failed()).toBe(2_000);
});

it('leaves each try of the responder to the initiator first', async () => {
  const [initiator, responder] = [begin(), begin('responder')];
  for (const { backoff, clock } of [initiator, responder]) {
    backoff.failed();
    await clock.pass(5_000);
    backoff.retrySoon();
    await clock.pass(5_000);
  }
  expect(initiator.tries).toEqual([2_000, 5_000]);
  expect(responder.tries).toEqual([2_700, 5_700]);
});

it('tries once, at the time that was set last, and not where that was called off', async () => {
  const { clock, tries, backoff } = begin();
  backoff.failed();
  backoff.retryIn(300);
  await clock.pass(10_000);
  expect(tries).toEqual([300]);
  backoff.retryIn(300);
  backoff.cancel();
  await clock.pass(10_000);
  expect(tries).toEqual([300]);
});
