import { createServer } from 'node:net';
import { once } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { identityFromSeed } from '../../src/core/identity.ts';
import { isAttested } from '../../src/core/protocol/attestation.ts';
import { systemClock } from '../../src/net/clock.ts';
import { NatDiscovery } from '../../src/net/nat-discovery.ts';
import { StunServer } from '../../src/net/stun-server.ts';
import { dialTcp } from '../../src/net/tcp.ts';
import { UdpSocket } from '../../src/net/udx.ts';

const deployment = identityFromSeed(new Uint8Array(32).fill(1));
const peer = identityFromSeed(new Uint8Array(32).fill(2));
const credentials = { username: 'registration', key: new Uint8Array(32).fill(3) };
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function startServer(addresses: readonly [string, string?]): Promise<StunServer> {
  const lookup = () => ({ peer: peer.id, key: credentials.key });
  const server = await StunServer.start({ addresses, ports: [0, 0], deployment, lookup, now: Date.now });
  closers.push(() => server.close());
  return server;
}

function discover({ udp, tcp }: Pick<StunServer, 'udp' | 'tcp'>, clock = systemClock): NatDiscovery {
  const open = (port = 0) => UdpSocket.open({ host: '0.0.0.0', port });
  const datagrams = open();
  const discovery = new NatDiscovery({
    datagrams,
    freshDatagrams: async (port) => open(port),
    stun: { ...credentials, udp, tcp },
    localAddresses: [],
    clock,
    surveyAfterMs: 0,
  });
  closers.push(() => datagrams.close());
  closers.push(() => discovery.close());
  return discovery;
}

async function complete(discovery: NatDiscovery): Promise<void> {
  const done = new Set<string>();
  await new Promise<void>((resolve) => {
    discovery.on('profile', (transport, _profile, isComplete) => {
      if (isComplete) done.add(transport);
      if (done.size === 2) resolve();
    });
    discovery.start();
  });
}

describe('NatDiscovery on loopback', () => {
  it('finds no NAT and no filter, and attested candidates of both transports', async () => {
    const server = await startServer(['127.0.0.1', '127.0.0.2']);
    const discovery = discover(server);
    await complete(discovery);
    const { udp, tcp } = discovery.profile;
    expect(udp).toMatchObject({ reachable: true, mapping: 'none', filtering: 'none', provisional: false });
    expect(tcp).toMatchObject({ reachable: true, mapping: 'none', filtering: 'unknown' });
    const candidates = await discovery.attested();
    expect(candidates.map(({ transport }) => transport)).toEqual(['udp', 'tcp']);
    for (const candidate of candidates) {
      expect(isAttested(candidate, peer.id, deployment.id, Date.now())).toBe(true);
    }
    expect(discovery.current.tcp.heldPort).toBe(candidates[1]?.endpoint.port);
  });

  it('lets the server dial back, and knows TCP filtering then', async () => {
    const server = await startServer(['127.0.0.1', '127.0.0.2']);
    const discovery = discover(server);
    await complete(discovery);
    const { version } = discovery.profile;
    await discovery.surveyed(20_000);
    expect(discovery.profile.tcp).toMatchObject({ filtering: 'none', strays: 'unknown' });
    expect(discovery.profile.version).toBeGreaterThan(version);
  });

  it('holds a TCP port that can be dialled from, and lets it go', async () => {
    const server = await startServer(['127.0.0.1']);
    const discovery = discover(server);
    await complete(discovery);
    const target = createServer().listen(0, '127.0.0.1');
    closers.push(() => target.close());
    await once(target, 'listening');
    const { port } = target.address() as { port: number };
    const localPort = discovery.heldPort;
    const socket = await dialTcp({ remote: { address: '127.0.0.1', port }, localPort });
    expect(socket.localPort).toBe(localPort);
    socket.destroy();
    discovery.close();
    expect(discovery.listenerCount('profile')).toBe(0);
  });

  it('measures again what a failed punch puts in doubt, unless it is younger than a minute', async () => {
    let ahead = 0;
    const clock = { ...systemClock, now: () => systemClock.now() + ahead };
    const server = await startServer(['127.0.0.1', '127.0.0.2']);
    const discovery = discover(server, clock);
    await complete(discovery);
    const first = discovery.diagnosis!;
    expect(first.ended).toBeGreaterThan(first.began);
    await discovery.surveyed(20_000);
    discovery.suspect();
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(discovery.diagnosis).toEqual(first);
    ahead = 60_000;
    const { version } = discovery.profile;
    discovery.suspect();
    await vi.waitFor(() => expect(discovery.diagnosis!.began).toBeGreaterThan(first.ended), 20_000);
    await discovery.surveyed(20_000);
    expect(discovery.profile.version).toBeGreaterThan(version);
  });

  it('says that a transport is blocked where no server answers', async () => {
    const silent = UdpSocket.open({ host: '127.0.0.1', port: 0 });
    closers.push(() => silent.close());
    const nobody = { address: '127.0.0.1', port: silent.address.port };
    const discovery = discover({ udp: [nobody], tcp: [nobody, nobody] });
    await complete(discovery);
    expect(discovery.profile.udp.reachable).toBe(false);
    expect(discovery.profile.tcp.reachable).toBe(false);
    expect(discovery.candidates).toEqual([]);
    expect(discovery.heldPort).toBe(undefined);
  });

  it('waits for no survey where no server is reached, and none where it was kept from listening', async () => {
    const silent = UdpSocket.open({ host: '127.0.0.1', port: 0 });
    closers.push(() => silent.close());
    const nobody = { address: '127.0.0.1', port: silent.address.port };
    const late = {
      ...systemClock,
      setTimer: (act: () => void, ms: number) => systemClock.setTimer(act, ms + 500),
    };
    for (const discovery of [discover({ udp: [], tcp: [] }), discover({ udp: [nobody], tcp: [] }, late)]) {
      await complete(discovery);
      expect(discovery.profile.udp.reachable).toBe(undefined);
      const began = performance.now();
      await discovery.surveyed(60_000);
      await discovery.lifetimeMeasured();
      expect(performance.now() - began).toBeLessThan(20_000);
    }
  });

  it('holds on again after the server was restarted on the same ports', async () => {
    const server = await startServer(['127.0.0.1']);
    const discovery = discover(server);
    await complete(discovery);
    await server.close();
    const [first, second] = server.udp.map(({ port }) => port);
    const lookup = () => ({ peer: peer.id, key: credentials.key });
    const addresses = ['127.0.0.1'] as const;
    const ports = [first!, second!] as const;
    const again = await StunServer.start({ addresses, ports, deployment, lookup, now: Date.now });
    closers.push(() => again.close());
    await new Promise<void>((resolve) => {
      discovery.on('mapped', (transport) => transport === 'tcp' && resolve());
    });
    expect(discovery.heldPort).toBeGreaterThan(0);
  });
});
