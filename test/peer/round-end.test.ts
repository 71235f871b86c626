import { queryObjects } from 'node:v8';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { RoundConnections } from '../../peer/round-connections.ts';
import { Traversal } from '../../peer/traversal.ts';
import { PunchAgent } from '../../src/core/punch/agent.ts';
import { Meeting } from './meeting.ts';

let meeting: Meeting;
beforeEach(async () => {
  meeting = await Meeting.start();
});
afterEach(() => meeting.close());

it.each(['udp', 'tcp'] as const)(
  'a path by %s holds nothing of the round that found it',
  async (kind) => {
    const bob = await meeting.peer('bob', ['any']);
    const alice = await meeting.peer('alice');
    const session = await alice.connect(bob.id, { paths: [kind] });
    const alive = () =>
      [Traversal, RoundConnections, PunchAgent].map((type) => queryObjects(type, { format: 'count' }));
    expect(alive()[2]).toBeGreaterThan(0);
    // Each look walks the whole heap, which takes long beside other tests.
    await expect.poll(alive, { timeout: 60_000, interval: 500 }).toEqual([0, 0, 0]);
    expect((await session.ping()).path).toMatchObject({ kind, state: 'active' });
  },
  90_000,
);

// Last, for a spy holds what it has seen.
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
