import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { Peer, Rendezvous } from '../../src/index.ts';
import { Meeting, sentBy } from './meeting.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A way to the rendezvous on which can be held back what comes or goes, and that can be cut. */
async function way(to: number, port = 0) {
  const sockets: Socket[] = [];
  const coming: (() => void)[] = [];
  const going: (() => void)[] = [];
  const server: Server = createServer((near) => {
    const far = connect(to, '127.0.0.1');
    sockets.push(near, far);
    coming.push(() => far.unpipe(near));
    going.push(() => near.unpipe(far));
    near.on('error', () => {}).on('close', () => far.destroy());
    far.on('error', () => {}).on('close', () => near.destroy());
    near.pipe(far).pipe(near);
  }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  closers.push(cut);
  const hold = (which: 'coming' | 'going') => {
    for (const each of { coming, going }[which]) each();
  };
  return { port: (server.address() as AddressInfo).port, hold, cut };
}

it('a peer that comes back to a restarted rendezvous later than its caller is not offline', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-restart-'));
  closers.push(() => rmSync(folder, { recursive: true }));
  const home = (name: string) => join(folder, name);
  const start = async (port: number) => {
    const listen = `127.0.0.1:${port}`;
    const options = { listen, stunPort: 0, insecure: true, open: true, home: home('r') };
    const rendezvous = await Rendezvous.start(options);
    closers.push(() => rendezvous.close());
    return rendezvous;
  };
  const rendezvous = await start(0);
  const port = Number(new URL(rendezvous.url).port);
  const bobs = await way(port);
  const alice = await Peer.start({ home: home('alice'), rendezvous: rendezvous.url, role: 'dial' });
  closers.push(() => alice.close());
  const options = { home: home('bob'), rendezvous: `http://127.0.0.1:${bobs.port}`, allow: [alice.id] };
  const bob = await Peer.start(options);
  closers.push(() => bob.close());

  bobs.hold('coming');
  const sent = sentBy(alice);
  const offers = () => sent.filter(({ t }) => t === 'offer').length;
  const connected = alice.connect(bob.id);
  await expect.poll(offers).toBe(1);
  bobs.cut();
  await rendezvous.close();
  await start(port);
  await expect.poll(offers, { timeout: 10_000 }).toBeGreaterThan(2);
  await way(port, bobs.port);
  const session = await connected;
  expect(session.peer).toBe(bob.id);
  await session.close();
}, 30_000);

it('an answer that was lost with its connection is given again by the next one', async () => {
  const meeting = await Meeting.start();
  closers.push(() => meeting.close());
  const port = Number(new URL(meeting.rendezvous.url).port);
  const bobs = await way(port);
  const alice = await meeting.peer('alice');
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-restart-'));
  closers.push(() => rmSync(folder, { recursive: true }));
  const options = { home: folder, rendezvous: `http://127.0.0.1:${bobs.port}`, allow: [alice.id] };
  const bob = await Peer.start(options);
  closers.push(() => bob.close());

  bobs.hold('going');
  const sent = sentBy(bob);
  const connected = alice.connect(bob.id);
  await expect.poll(() => sent.map(({ t }) => t)).toContain('answer');
  bobs.cut();
  await way(port, bobs.port);
  expect(await connected).toMatchObject({ peer: bob.id });
}, 30_000);
