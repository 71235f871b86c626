import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Meeting } from './meeting.ts';

const HOUR_MS = 3_600_000;
/** Each peer looks at its clocks once a second. */
const LOOKED_MS = 2_500;

let meeting: Meeting;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  meeting = await Meeting.start();
});
afterEach(async () => {
  await meeting.close();
  vi.useRealTimers();
});

it('a time of day that is set ends neither the registration nor the circuit', async () => {
  const alice = await meeting.peer('alice');
  const bob = await meeting.peer('bob', [alice.id]);
  const session = await alice.connect(bob.id, { paths: ['relay'] });
  const lost: unknown[] = [];
  session.on('path', (path) => path.state === 'down' && lost.push(path.reason));
  for (const { deployment } of [alice, bob]) deployment.on('registered', () => lost.push('registration'));
  for (const change of [HOUR_MS, -HOUR_MS]) {
    vi.setSystemTime(Date.now() + change);
    await sleep(LOOKED_MS);
  }
  expect(lost).toEqual([]);
});

it('a peer whose time of day is set asks its rendezvous and its paths at once', async () => {
  const alice = await meeting.peer('alice');
  const bob = await meeting.peer('bob', [alice.id]);
  const session = await alice.connect(bob.id, { paths: ['relay'] });
  const question = vi.spyOn(session.driver, 'question');
  vi.setSystemTime(Date.now() + HOUR_MS);
  await expect.poll(() => question.mock.calls.length, { timeout: 10_000 }).toBeGreaterThan(0);
});
