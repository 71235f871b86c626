import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { Peer, Rendezvous } from '../../src/index.ts';
import { sentBy } from './meeting.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A way to the rendezvous whose answers can be held back, and that can be cut. */
async function way(to: number, port = 0): Promise<{ port: number; hold: () => void; cut: () => void }> {
  const sockets: Socket[] = [];
  const held: (() => void)[] = [];
  const server: Server = createServer((near) => {
    const far = connect(to, '127.0.0.1');
    sockets.push(near, far);
    held.push(() => far.unpipe(near));
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
  const hold = () => {
    for (const each of held) each();
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

  bobs.hold();
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
