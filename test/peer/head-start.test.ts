import { expect, it } from 'vitest';
import { HeadStart } from '../../peer/head-start.ts';
import { ManualClock } from './manual-clock.ts';

function begin(): { clock: ManualClock; headStart: HeadStart; done: string[] } {
  const clock = new ManualClock();
  const headStart = new HeadStart(clock, 30);
  const done: string[] = [];
  headStart.after(() => done.push('punch'));
  headStart.after(() => done.push('learn'));
  return { clock, headStart, done };
}

it('keeps what is to be done until it is over, in order', async () => {
  const { clock, headStart, done } = begin();
  await clock.pass(29);
  expect(done).toEqual([]);
  await clock.pass(1);
  headStart.after(() => done.push('at once'));
  expect(done).toEqual(['punch', 'learn', 'at once']);
});

it('is over when there is nothing to wait for, and then only once', async () => {
  const { clock, headStart, done } = begin();
  headStart.end();
  await clock.pass(100);
  expect(done).toEqual(['punch', 'learn']);
});

it('does nothing more when it was stopped', async () => {
  const { clock, headStart, done } = begin();
  headStart.stop();
  await clock.pass(100);
  expect(done).toEqual([]);
});
