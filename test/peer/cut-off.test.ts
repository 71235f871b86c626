import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Meeting } from './meeting.ts';

let meeting: Meeting;
beforeEach(async () => (meeting = await Meeting.start()));
afterEach(() => meeting.close());

/** A way to the rendezvous and its relay, whose connections can fall silent in both directions; later ones pass. */
async function pipeToRendezvous(): Promise<{ url: string; silence: () => void }> {
  const pairs = new Set<[Socket, Socket]>();
  const server = createServer((near) => {
    const far = connect(Number(new URL(meeting.rendezvous.url).port), '127.0.0.1');
    pairs.add([near, far]);
    near.on('error', () => far.destroy()).on('close', () => far.destroy());
    far.on('error', () => near.destroy()).on('close', () => near.destroy());
    near.pipe(far).pipe(near);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  meeting.onClose(() => {
    server.close();
    for (const sockets of pairs) for (const socket of sockets) socket.destroy();
  });
  const silence = () => {
    for (const [near, far] of pairs) {
      near.unpipe(far).pause();
      far.unpipe(near).pause();
    }
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, silence };
}

// The last path is borne for 15 s where nothing but its silence speaks against it.
it(
  'a session goes on by another circuit as soon as its end is registered again',
  { timeout: 12_000 },
  async () => {
    const bob = await meeting.peer('bob', ['any']);
    bob.handle('echo', (stream) => stream.on('error', () => {}).pipe(stream));
    const pipe = await pipeToRendezvous();
    const alice = await meeting.peer('alice', [], pipe.url);
    const session = await alice.connect(bob.id, { paths: ['relay'] });
    const stream = await session.open('echo');
    stream.on('error', () => {}); // it ends with the session
    stream.write('before');
    expect(String((await once(stream, 'data'))[0])).toBe('before');
    pipe.silence();
    stream.write('after');
    expect(String((await once(stream, 'data'))[0])).toBe('after');
  },
);
