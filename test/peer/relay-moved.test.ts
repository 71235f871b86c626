import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { Peer, Relay, Rendezvous } from '../../src/index.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

it('a relay that came back at another URL is reached there', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-relay-moved-'));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  const common = { listen: '127.0.0.1:0', stunPort: 0, insecure: true };
  const home = (name: string) => join(folder, name);
  const rendezvous = await Rendezvous.start({ ...common, relay: false, open: true, home: home('r') });
  closers.push(() => rendezvous.close());
  const startRelay = () => Relay.start({ ...common, rendezvous: rendezvous.url, home: home('relay') });
  const startPeer = async (name: string, allow: string[]) => {
    const peer = await Peer.start({ home: home(name), rendezvous: rendezvous.url, allow });
    closers.push(() => peer.close());
    return peer;
  };
  const before = await startRelay();
  const alice = await startPeer('alice', []);
  const bob = await startPeer('bob', [alice.id]);
  await before.close();
  const after = await startRelay();
  closers.push(() => after.close());
  expect(after.id).toBe(before.id);
  await expect
    .poll(() => [alice, bob].map(({ deployment }) => deployment.relay(after.id)?.url))
    .toEqual([after.url, after.url]);
  const session = await alice.connect(bob.id, { paths: ['relay'] });
  expect(session.driver.paths.map(({ remote }) => remote)).toEqual([after.url]);
  await session.close();
});
