import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Punching } from '../../peer/punching.ts';
import { Traversal } from '../../peer/traversal.ts';
import { Meeting } from './meeting.ts';

let meeting: Meeting;
beforeEach(async () => {
  meeting = await Meeting.start();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await meeting.close();
});

it('where the port counter of the proposer stands is known to the round that it proposes', async () => {
  const bob = await meeting.peer('bob', ['any']);
  const alice = await meeting.peer('alice');
  const begun = vi.spyOn(Punching.prototype, 'begin');
  const told = vi.spyOn(Traversal.prototype, 'handle');
  const session = await alice.connect(bob.id);
  await session.whenDirect();
  const punching = begun.mock.contexts[0] as Punching;
  told.mockClear();
  const sample = {
    transport: 'udp',
    endpoint: { address: '198.51.100.1', port: 5_000 },
    seenAt: performance.now(),
  } as const;
  punching.begin(1, { at: Date.now(), roundTripMs: 20 }, { samples: [sample] });
  const samples = told.mock.calls.flatMap(([input]) =>
    input.type === 'remote' ? (input.samples ?? []) : [],
  );
  expect(samples).toEqual([sample]);
});
