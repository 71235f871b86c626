import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { Meeting } from './meeting.ts';

/** Of a registration no piece is as long; every offer is longer. */
const MOST_BYTES = 400;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A way on which what is long is lost, and so all that follows it on the same connection. */
async function wayForShortPackets(to: string): Promise<string> {
  const sockets: Socket[] = [];
  const server = createServer((near) => {
    const far = connect(Number(new URL(to).port), '127.0.0.1');
    sockets.push(near, far);
    near.on('error', () => {}).on('close', () => far.destroy());
    far.on('error', () => {}).on('close', () => near.destroy());
    far.pipe(near);
    near.on('data', (bytes: Buffer) => {
      if (bytes.length > MOST_BYTES) near.removeAllListeners('data').resume();
      else far.write(bytes);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

it('where offers are lost on the way to the rendezvous, that is said, and not that the peer is silent', async () => {
  const meeting = await Meeting.start();
  closers.push(() => meeting.close());
  const bob = await meeting.peer('bob', ['any']);
  const alice = await meeting.peer('alice', [], await wayForShortPackets(meeting.rendezvous.url));
  const failure = expect.objectContaining({
    code: 'TIMEOUT',
    message: 'the connection to the rendezvous broke, and no answer came',
  });
  await expect(alice.connect(bob.id)).rejects.toEqual(failure);
}, 60_000);
