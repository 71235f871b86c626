import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Peer, Rendezvous } from '../../src/index.ts';

const hasIPv6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ family }) => family === 'IPv6'),
);
if (!hasIPv6) console.log('skipped, a rendezvous over IPv6: this machine has none');

let folder: string;
const opened: { close(): Promise<unknown> }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-ipv6-'));
});

afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close();
  rmSync(folder, { recursive: true, force: true });
});

function startRendezvous(listen: string, more: object = {}): Promise<Rendezvous> {
  const home = join(folder, 'r');
  return Rendezvous.start({ listen, insecure: true, open: true, home, ...more }).then(
    (rendezvous) => (opened.push(rendezvous), rendezvous),
  );
}

async function startPeer(name: string, rendezvous: string, allow: string[] = []): Promise<Peer> {
  const peer = await Peer.start({ home: join(folder, name), rendezvous, allow });
  opened.push(peer);
  return peer;
}

async function meets(alice: Peer, bob: Peer): Promise<string> {
  bob.handle('echo', (stream) => stream.pipe(stream));
  const session = await alice.connect(bob.id);
  const stream = await session.open('echo');
  stream.end('over IPv6');
  const [chunk] = (await once(stream, 'data')) as [Buffer];
  await session.close();
  return chunk.toString();
}

describe.skipIf(!hasIPv6)('a rendezvous', () => {
  it('is reached over IPv6 alone, for signalling, relay and STUN', async () => {
    const rendezvous = await startRendezvous('[::1]:0');
    expect(rendezvous.url).toMatch(/^http:\/\/\[::1\]:\d+$/);
    for (const { address } of rendezvous.stun.udp) expect(address).toBe('::1');
    const bob = await startPeer('bob', rendezvous.url, ['any']);
    expect(await meets(await startPeer('alice', rendezvous.url), bob)).toBe('over IPv6');
  });

  it('introduces a peer that reaches it over IPv4 to one that does over IPv6', async () => {
    const addresses = { publicAddress: '127.0.0.1', ipv6Address: '::1' };
    const rendezvous = await startRendezvous('[::]:0', addresses);
    const { port } = new URL(rendezvous.url);
    const stun = rendezvous.stun.udp.map(({ address }) => address);
    expect(stun).toEqual(['127.0.0.1', '127.0.0.1', '::1', '::1']);
    const bob = await startPeer('bob', `http://127.0.0.1:${port}`, ['any']);
    expect(await meets(await startPeer('alice', `http://[::1]:${port}`), bob)).toBe('over IPv6');
  });

  it('keeps STUN to IPv4 where it is told so, and takes no IPv4 address for an IPv6 one', async () => {
    const rendezvous = await startRendezvous('0.0.0.0:0', {
      publicAddress: '127.0.0.1',
      ipv6Address: 'none',
    });
    expect(rendezvous.stun.tcp.map(({ address }) => address)).toEqual(['127.0.0.1', '127.0.0.1']);
    await expect(startRendezvous('[::]:0', { ipv6Address: '192.0.2.1' })).rejects.toMatchObject({
      code: 'USAGE',
    });
  });
});
