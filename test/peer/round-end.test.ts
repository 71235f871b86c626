import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Traversal } from '../../peer/traversal.ts';
import { Meeting } from './meeting.ts';

let meeting: Meeting;
beforeEach(async () => {
  meeting = await Meeting.start();
});
afterEach(() => meeting.close());

it.each(['udp', 'tcp'] as const)(
  'a round that has found a path by %s is given up soon, and the path stays',
  async (kind) => {
    const stop = vi.spyOn(Traversal.prototype, 'stop');
    const bob = await meeting.peer('bob', ['any']);
    const alice = await meeting.peer('alice');
    const session = await alice.connect(bob.id, { paths: [kind] });
    await expect.poll(() => stop.mock.calls.length, { timeout: 20_000 }).toBe(2);
    expect((await session.ping()).path).toMatchObject({ kind, state: 'active' });
  },
  40_000,
);
