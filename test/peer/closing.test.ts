import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { deferred } from '../../src/net/deferred.ts';
import { Meeting } from './meeting.ts';

let meeting: Meeting;
beforeEach(async () => {
  meeting = await Meeting.start();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await meeting.close();
});

it('a peer whose sessions are being closed takes no other', async () => {
  const bob = await meeting.peer('bob', ['any']);
  const [alice, carol] = [await meeting.peer('alice'), await meeting.peer('carol')];
  const { driver } = await alice.connect(bob.id);
  const unread = deferred<void>();
  const [theirs] = bob.sessions;
  const close = theirs!.close.bind(theirs);
  vi.spyOn(theirs!, 'close').mockImplementation(() => unread.promise.then(() => close()));
  const closed = bob.close();
  await expect(carol.connect(bob.id)).rejects.toMatchObject({ code: 'PEER_OFFLINE' });
  expect(driver.end).toBeUndefined();
  unread.resolve();
  await closed;
  expect(bob.sessions).toEqual([]);
});
