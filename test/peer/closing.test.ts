import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { deferred } from '../../src/net/deferred.ts';
import { UdxPipe } from '../../src/net/udx-pipe.ts';
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

it('a peer is closed at once although a path by UDP is still being secured', async () => {
  const bob = await meeting.peer('bob', ['any']);
  const alice = await meeting.peer('alice');
  // Neither end hears the other's first bytes.
  const sent = vi.spyOn(UdxPipe.prototype, 'sendMessage').mockReturnValue();
  const failed = alice.connect(bob.id, { paths: ['udp'] }).catch((thrown: unknown) => thrown);
  await vi.waitFor(() => expect(sent).toHaveBeenCalled(), 5_000);
  for (const { driver } of alice.sessions) driver.destroy();
  const began = performance.now();
  await alice.close();
  expect(performance.now() - began).toBeLessThan(5_000);
  expect(await failed).toMatchObject({ code: 'SESSION_CLOSED' });
});
