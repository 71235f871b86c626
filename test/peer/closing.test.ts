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

it('a peer that waits for what its sessions still send can be told not to', async () => {
  const bob = await meeting.peer('bob', ['any']);
  const alice = await meeting.peer('alice');
  const session = await alice.connect(bob.id);
  bob.handle('sink', () => {}); // it reads nothing
  const stream = await session.open('sink');
  stream.on('error', () => {}).end(new Uint8Array(2 ** 21));
  const closed = alice.close();
  await alice.close({ signal: AbortSignal.abort() });
  expect(alice.sessions).toEqual([]);
  await closed;
});
