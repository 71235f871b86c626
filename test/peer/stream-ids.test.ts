import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Session } from '../../peer/session.ts';
import { SessionKeys } from '../../src/core/session/keys.ts';
import { Meeting } from './meeting.ts';

let meeting: Meeting;
beforeEach(async () => {
  meeting = await Meeting.start();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await meeting.close();
});

it('a session whose stream id another one has goes on by the relay, and gets a direct path in the next round', async () => {
  vi.spyOn(SessionKeys.prototype, 'udxStreamId').mockImplementation(
    (end, round) => 2 * round + (end === 'initiator' ? 1 : 2),
  );
  const bob = await meeting.peer('bob', ['any']);
  const alice = await meeting.peer('alice');
  const first = await alice.connect(bob.id, { paths: ['udp', 'relay'] });
  await first.whenDirect();
  const failed = vi.spyOn(Session.prototype, 'punchingFailed');
  const second = await alice.connect(bob.id, { paths: ['udp', 'relay'] });
  await expect.poll(() => second.path?.kind, { timeout: 20_000 }).toBe('udp');
  const met = failed.mock.calls[0]![0].obstacles.map(({ transport }) => transport);
  expect(met).toContain('udp');
  expect((await first.ping()).path).toMatchObject({ kind: 'udp' });
}, 40_000);
