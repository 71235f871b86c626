import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { publicKeyOf } from '../../src/core/identity.ts';
import { Peer, Relay, Rendezvous } from '../../src/index.ts';
import type { Session } from '../../peer/session.ts';
import { sentBy } from './meeting.ts';

const patience = { timeout: 30_000 };
const common = { listen: '127.0.0.1:0', stunPort: 0, insecure: true };

let folder: string;
let rendezvous: Rendezvous;
const closers: (() => unknown)[] = [];
const home = (name: string) => join(folder, name);

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-relay-moved-'));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  rendezvous = await Rendezvous.start({ ...common, relay: false, open: true, home: home('r') });
  closers.push(() => rendezvous.close());
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const close of closers.splice(0).toReversed()) await close();
});

/** With a key of that name. */
async function startRelay(name: string): Promise<Relay> {
  const relay = await Relay.start({ ...common, rendezvous: rendezvous.url, home: home(name) });
  closers.push(() => relay.close());
  return relay;
}

async function startPeer(name: string, allow: string[]): Promise<Peer> {
  const peer = await Peer.start({ home: home(name), rendezvous: rendezvous.url, allow });
  closers.push(async () => {
    for (const { driver } of peer.sessions) driver.destroy();
    await peer.close();
  });
  return peer;
}

function urlsOf(session: Session): (string | undefined)[] {
  return session.driver.paths.map(({ remote }) => remote);
}

it('a relay that came back at another URL is reached there', async () => {
  const before = await startRelay('relay');
  const alice = await startPeer('alice', []);
  const bob = await startPeer('bob', [alice.id]);
  await before.close();
  const after = await startRelay('relay');
  expect(after.id).toBe(before.id);
  await expect
    .poll(() => [alice, bob].map(({ deployment }) => deployment.relay(after.id)?.url))
    .toEqual([after.url, after.url]);
  const session = await alice.connect(bob.id, { paths: ['relay'] });
  expect(urlsOf(session)).toEqual([after.url]);
  await session.close();
});

it('a session goes on by a relay that took the place of the one it had', async () => {
  const before = await startRelay('one');
  const alice = await startPeer('alice', []);
  const bob = await startPeer('bob', [alice.id]);
  const session = await alice.connect(bob.id, { paths: ['relay'] });
  const after = await startRelay('another');
  await before.close();
  await expect.poll(() => urlsOf(session), patience).toEqual([after.url]);
});

it('and so it does where it is the responder that offers it anew', async () => {
  const before = await startRelay('one');
  const alice = await startPeer('alice', []);
  const bob = await startPeer('bob', [alice.id]);
  const session = await alice.connect(bob.id, { paths: ['relay'] });
  const send = alice.deployment.send.bind(alice.deployment);
  vi.spyOn(alice.deployment, 'send').mockImplementation((message) => message.t !== 'offer' && send(message));
  const after = await startRelay('another');
  await before.close();
  await expect.poll(() => urlsOf(session), patience).toEqual([after.url]);
});

it('a session that lost its relay in silence goes on by another', async () => {
  const relays = [await startRelay('one'), await startRelay('two')];
  const alice = await startPeer('alice', []);
  const bob = await startPeer('bob', [alice.id]);
  const session = await alice.connect(bob.id, { paths: ['relay'] });
  const [used] = urlsOf(session);
  const lost = relays.find(({ url }) => url === used)!;
  const other = relays.find(({ url }) => url !== used)!;
  for (const { deployment } of [alice, bob])
    vi.spyOn(deployment.relay(lost.id)!, 'open').mockReturnValue(new Promise(() => {}));
  for (const { driver } of [session, ...bob.sessions]) {
    for (const { id } of driver.paths) driver.removePath(id, 'lost');
  }
  await expect.poll(() => urlsOf(session), patience).toEqual([other.url]);
});

it('where no relay is there, and no direct path is allowed, it is the relay that did not answer', async () => {
  const relay = await startRelay('relay');
  const alice = await startPeer('alice', []);
  const bob = await startPeer('bob', [alice.id]);
  await relay.close();
  const failure = expect.objectContaining({
    code: 'NO_PATH',
    message: 'neither the relay nor a direct path answered',
  });
  await expect(alice.connect(bob.id, { paths: ['relay'] })).rejects.toEqual(failure);
}, 60_000);

it('while no relay is there, a session asks for tickets now and then, and keeps those that it has', async () => {
  const before = await startRelay('relay');
  const alice = await startPeer('alice', []);
  const bob = await startPeer('bob', [alice.id]);
  const session = await alice.connect(bob.id);
  await expect.poll(() => urlsOf(session), patience).toContain(before.url);
  const sent = sentBy(alice);
  const lost = vi.fn();
  alice.on('unregistered', lost);
  await before.close();
  await expect.poll(() => session.paths.every(({ direct }) => direct), patience).toBe(true);
  // As it does at half of their life.
  const renewal = {
    session: Uint8Array.from(Buffer.from(session.id, 'hex')),
    peer: publicKeyOf(bob.id),
    leg: 0,
  } as const;
  alice.deployment.send({ t: 'renew', ...renewal });
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  expect(sent.filter(({ t }) => t === 'renew').length).toBeLessThan(5);
  expect(lost).not.toHaveBeenCalled();
  const after = await startRelay('relay');
  await expect.poll(() => urlsOf(session), patience).toContain(after.url);
}, 60_000);

it('a session that was begun while no relay was there has a circuit once there is one', async () => {
  const alice = await startPeer('alice', []);
  const bob = await startPeer('bob', [alice.id]);
  const sent = sentBy(bob);
  const connecting = alice.connect(bob.id, { paths: ['relay'] });
  await expect.poll(() => sent.some(({ t }) => t === 'answer'), patience).toBe(true);
  const relay = await startRelay('relay');
  expect(urlsOf(await connecting)).toEqual([relay.url]);
}, 60_000);
