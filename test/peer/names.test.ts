import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Peer } from '../../src/index.ts';
import { Meeting, sentBy } from './meeting.ts';

let meeting: Meeting;
let alice: Peer;
let bob: Peer;
beforeEach(async () => {
  meeting = await Meeting.start();
  const home = join((await meeting.peer('bob')).home.folder, '..', 'desk');
  bob = await Peer.start({ home, rendezvous: meeting.rendezvous.url, name: 'desk', allow: ['any'] });
  meeting.onClose(() => bob.close());
  alice = await meeting.peer('alice');
});
afterEach(() => meeting.close());

it('a name that is pinned is asked for while the peer is offered a session already', async () => {
  const sent = sentBy(alice);
  expect((await alice.connect('desk', { acceptName: true })).peer).toBe(bob.id);
  sent.length = 0;
  const session = alice.connect('desk');
  await vi.waitFor(() => expect(sent.length).toBeGreaterThan(1));
  expect(sent.slice(0, 2).map(({ t }) => t)).toEqual(['resolve', 'offer']);
  expect((await session).peer).toBe(bob.id);
  const asked = vi.spyOn(alice.deployment, 'resolve').mockReturnValue(new Promise(() => {})); // the answer is lost
  expect((await alice.connect('desk')).peer).toBe(bob.id);
  expect(asked).toHaveBeenCalledOnce();
});

it.each(['connect', 'plan'] as const)('a name that is somebody else’s by now ends a %s', async (method) => {
  const carol = await meeting.peer('carol', ['any']);
  alice.settings.pinName('desk', carol.id);
  await expect(alice[method]('desk')).rejects.toMatchObject({
    code: 'IDENTITY_CHANGED',
    message: `desk was ${carol.id}, and the rendezvous now names ${bob.id}`,
  });
  await vi.waitFor(() => expect([...alice.sessions, ...carol.sessions]).toEqual([]), 5_000);
  expect(alice.settings.names).toEqual({ desk: carol.id });
});

it('a name that nobody has any more is still whose it was', async () => {
  expect((await alice.connect('desk', { acceptName: true })).peer).toBe(bob.id);
  await bob.close();
  await expect(alice.connect('desk')).rejects.toMatchObject({ code: 'PEER_OFFLINE' });
});

it('whose a name is, is asked again where the question may have been lost with its connection', async () => {
  const { deployment } = alice;
  const before = deployment.resolve('desk');
  alice.network.emit('moved'); // it registers anew
  const meanwhile = deployment.resolve('desk');
  expect(await Promise.all([before, meanwhile])).toMatchObject([{ id: bob.id }, { id: bob.id }]);
});
