import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Nat } from './nat.ts';
import { World } from './network.ts';
import { defineNat, PRESERVING, RANDOM, sequential, type NatBehavior } from './nat-behavior.ts';
import { twoLans, type NatName } from './presets.ts';
import {
  destinationsOf,
  mappingOf,
  observeTcp,
  observeUdp,
  outcomeOf,
  tcpFiltering,
  tcpStrayAnswer,
  udpFiltering,
  type Probing,
} from './probes.ts';

const BYTE = new Uint8Array(1);

/** One host behind one NAT with the given behaviour, and the server. */
function behind(behavior: NatBehavior, addresses = ['198.51.100.10'], seed = 1): Probing & { nat: Nat } {
  const world = new World({ seed });
  const lan = world.lan('lan');
  const nat = world.nat({ name: 'nat', behavior, outside: world.internet, addresses, inside: [lan] });
  const server = world.server(2);
  const host = world.host({ name: 'host', segment: lan, addresses: ['192.168.1.2'] });
  return { world, server, host, nat };
}

function probe(name: NatName): Probing {
  const { world, a, server } = twoLans({ a: name, b: name, delayMs: 20 });
  return { world, host: a, server };
}

/** External ports of mappings that are made one after the other, from one socket each. */
function allocate({ world, host, server }: Probing, count: number, everyMs = 100): number[] {
  const ports: number[] = [];
  const sink = server.udp(9, server.addresses[0]);
  sink.onDatagram = (_, from) => ports.push(from.port);
  for (let index = 0; index < count; index++) {
    host.udp(6_000 + index).send(BYTE, sink.local);
    world.runFor(everyMs);
  }
  sink.close();
  return ports;
}

describe('presets behave as they are called', () => {
  const EI = 'endpoint-independent';
  const AD = 'address-dependent';
  const APD = 'address-and-port-dependent';
  const NO = 'blocked';
  it.each([
    ['open', EI, EI, EI, EI, 'refused'],
    ['ei/ei', EI, EI, EI, EI, 'refused'],
    ['ei/ad', EI, AD, EI, AD, 'silent'],
    ['ei/apd', EI, APD, EI, APD, 'silent'],
    ['ad/apd', AD, APD, AD, APD, 'silent'],
    ['apd/apd-random', APD, APD, APD, APD, 'silent'],
    ['apd/apd-sequential', APD, APD, APD, APD, 'silent'],
    ['udp-blocked', NO, NO, EI, APD, 'silent'],
    ['cgnat', EI, APD, EI, APD, 'silent'],
    ['cgnat-random', APD, APD, APD, APD, 'silent'],
    ['same-nat', EI, APD, EI, APD, 'silent'],
  ] as const)(
    '%s: UDP %s / %s, TCP %s / %s, a stray SYN is %s',
    (name, udpMap, udpFilter, tcpMap, tcpFilter, stray) => {
      expect(mappingOf(observeUdp(probe(name)))).toBe(udpMap);
      expect(udpFiltering(probe(name))).toBe(udpFilter);
      expect(mappingOf(observeTcp(probe(name)))).toBe(tcpMap);
      expect(tcpFiltering(probe(name))).toBe(tcpFilter);
      expect(tcpStrayAnswer(probe(name))).toBe(stray);
    },
  );

  it('tcp443-only passes TCP to port 443 and nothing else', () => {
    const { world, host, server } = probe('tcp443-only');
    for (const port of [443, 3478]) server.tcp.listen(port);
    const dial = (port: number): string =>
      outcomeOf(world, host.tcp.connect({ remote: { address: server.address, port } }));
    expect(dial(443)).toBe('connected');
    expect(dial(3478)).toBe('silent');
    expect(observeUdp({ world, host, server })).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('same-lan peers reach each other inside, and the public address fails without hairpin', () => {
    const { world, a, b, natA } = twoLans({ a: 'same-lan', b: 'same-lan' });
    const arrived: Endpoint[] = [];
    const receiver = b.udp(5_000);
    receiver.onDatagram = (_, from) => arrived.push(from);
    const sender = a.udp(5_000);
    sender.send(BYTE, receiver.local);
    sender.send(BYTE, { address: natA!.addresses[0]!, port: 5_000 });
    world.runFor(100);
    expect(arrived).toEqual([{ address: '192.168.1.2', port: 5_000 }]);
    expect(world.drops['no-hairpin']).toBe(1);
  });

  it('same-nat hosts are isolated from each other', () => {
    const { world, a, b, direct } = twoLans({ a: 'same-nat', b: 'same-nat' });
    a.udp(5_000).send(BYTE, b.udp(5_000).local);
    world.runFor(100);
    expect(direct()).toEqual({ udp: 0, tcp: 0 });
  });
});

describe('port allocation', () => {
  it('preserves the port, and takes a random one where it is taken', () => {
    const { world, a, b, server } = twoLans({ a: 'same-nat', b: 'same-nat' });
    const ports: number[] = [];
    const sink = server.udp(9, server.address);
    sink.onDatagram = (_, from) => ports.push(from.port);
    for (const host of [a, b]) host.udp(5_000).send(BYTE, sink.local);
    world.runFor(100);
    expect(ports[0]).toBe(5_000);
    expect(ports[1]).not.toBe(5_000);
  });

  it.each([1, 2, -1])('counts by steps of %i on a quiet NAT', (step) => {
    const ports = allocate(
      behind(defineNat('address-and-port-dependent', 'address-and-port-dependent', sequential(step))),
      8,
    );
    const deltas = ports.slice(1).map((port, index) => port - ports[index]!);
    expect(deltas).toEqual(Array.from({ length: 7 }, () => step));
  });

  it('lets other hosts take ports meanwhile: 20 per second is two in 100 ms', () => {
    const busy = sequential(1, 20);
    const ports = allocate(
      behind(defineNat('address-and-port-dependent', 'address-and-port-dependent', busy)),
      200,
    );
    const mean = (ports.at(-1)! - ports[0]!) / (ports.length - 1);
    expect(mean).toBeGreaterThan(2.5);
    expect(mean).toBeLessThan(3.5);
  });

  it('random ports cover the whole range without repeats', () => {
    const ports = allocate(behind(defineNat('endpoint-independent', 'address-dependent', RANDOM)), 2_000, 1);
    expect(new Set(ports).size).toBe(2_000);
    expect(Math.min(...ports)).toBeLessThan(2_000);
    expect(Math.max(...ports)).toBeGreaterThan(64_500);
    expect(ports.filter((port) => port < 33_280).length / 2_000).toBeCloseTo(0.5, 1);
  });
});

describe('address pool', () => {
  const pool = ['198.51.100.10', '198.51.100.11', '198.51.100.12', '198.51.100.13'];
  const addressesSeen = (pooling: NatBehavior['pooling']): Set<string> => {
    const { world, host, server } = behind(
      defineNat('endpoint-independent', 'endpoint-independent', PRESERVING, { pooling }),
      pool,
    );
    const seen = new Set<string>();
    const sink = server.udp(9, server.address);
    sink.onDatagram = (_, from) => seen.add(from.address);
    for (let index = 0; index < 64; index++) host.udp().send(BYTE, sink.local);
    world.runFor(100);
    return seen;
  };

  it('pairs a host with one address, or gives each mapping any', () => {
    expect(addressesSeen('paired').size).toBe(1);
    expect(addressesSeen('arbitrary')).toEqual(new Set(pool));
  });
});

describe('lifetime of a UDP mapping', () => {
  /** Whether the server can still send in after `idleMs`, with outbound traffic every `refreshMs` meanwhile. */
  function survives(idleMs: number, refreshMs: number): boolean {
    const { world, host, server } = behind(
      defineNat('endpoint-independent', 'address-and-port-dependent', RANDOM, {
        udp: { lifetimeMs: 30_000 },
      }),
    );
    let mapped: Endpoint | undefined;
    let arrived = false;
    const sink = server.udp(9, server.address);
    sink.onDatagram = (_, from) => (mapped = from);
    const own = host.udp();
    own.onDatagram = () => (arrived = true);
    for (let at = 0; at < idleMs; at += refreshMs) {
      world.run(at);
      own.send(BYTE, sink.local);
    }
    world.run(idleMs);
    sink.send(BYTE, mapped!);
    world.runFor(10);
    return arrived;
  }

  it('ends when nothing was sent outbound for that long', () => {
    expect(survives(29_000, 60_000)).toBe(true);
    expect(survives(31_000, 60_000)).toBe(false);
  });

  it('is refreshed by outbound packets', () => {
    expect(survives(200_000, 25_000)).toBe(true);
  });

  it('is not refreshed by inbound packets', () => {
    const { world, host, server } = behind(
      defineNat('endpoint-independent', 'endpoint-independent', RANDOM, { udp: { lifetimeMs: 30_000 } }),
    );
    let mapped: Endpoint | undefined;
    let arrived = 0;
    const sink = server.udp(9, server.address);
    sink.onDatagram = (_, from) => (mapped = from);
    const own = host.udp();
    own.onDatagram = () => arrived++;
    own.send(BYTE, sink.local);
    world.run(20_000);
    sink.send(BYTE, mapped!);
    world.run(40_000);
    sink.send(BYTE, mapped!);
    world.runFor(10);
    expect(arrived).toBe(1);
  });

  it('reboot forgets the mapping, rebind moves it to another address', () => {
    const probing = behind(defineNat('endpoint-independent', 'endpoint-independent', RANDOM));
    const [before] = observeUdp(probing);
    expect(observeUdp(probing)[0]).toBe(before);
    probing.nat.reboot();
    expect(observeUdp(probing)[0]).not.toBe(before);
    probing.nat.rebind(['198.51.100.99']);
    expect(observeUdp(probing)[0]?.address).toBe('198.51.100.99');
  });
});

describe('hairpin', () => {
  /** b learns where a packet to its public mapping seems to come from, after sending to a's public mapping itself. */
  function hairpinned(hairpin: NatBehavior['hairpin']): { from: Endpoint[]; answered: Endpoint[] } {
    const { world, a, b, server } = twoLans({ a: 'same-nat', b: 'same-nat', natA: { hairpin } });
    const from: Endpoint[] = [];
    const answered: Endpoint[] = [];
    const [socketA, socketB] = [a.udp(5_000), b.udp(6_000)];
    const [mappedA, mappedB] = [5_000, 6_000].map((port) => ({ address: '198.51.100.10', port }));
    for (const socket of [socketA, socketB]) socket.send(BYTE, destinationsOf(server)[0]!);
    socketB.send(BYTE, mappedA!);
    socketB.onDatagram = (bytes, source) => {
      from.push(source);
      socketB.send(bytes, mappedA!);
    };
    socketA.onDatagram = (_, source) => answered.push(source);
    socketA.send(BYTE, mappedB!);
    world.runFor(100);
    return { from, answered };
  }

  it('none: the packet dies at the NAT', () => {
    expect(hairpinned('none').from).toEqual([]);
  });

  it('external source: it comes from the public mapping', () => {
    expect(hairpinned('external-source')).toEqual({
      from: [{ address: '198.51.100.10', port: 5_000 }],
      answered: [{ address: '198.51.100.10', port: 6_000 }],
    });
  });

  it('internal source: it comes from an unreachable LAN address, and an answer to the probed address works', () => {
    expect(hairpinned('internal-source')).toEqual({
      from: [{ address: '192.168.1.2', port: 5_000 }],
      answered: [{ address: '192.168.2.2', port: 6_000 }],
    });
  });
});

describe('low TTL behind NATs', () => {
  it.each([
    ['ei/apd', 2, [1]],
    ['ei/apd', 3, [1]],
    ['cgnat', 3, [1, 1]],
  ] as const)(
    '%s with TTL %i: dies in the core after making a mapping in each own NAT',
    (name, ttl, mappings) => {
      const { world, a, natB, natsA } = twoLans({ a: name, b: 'ei/apd' });
      a.udp(5_000).send(BYTE, { address: natB!.addresses[0]!, port: 5_000 }, ttl);
      world.runFor(100);
      expect(natsA.map(({ counters }) => counters.mappings.udp)).toEqual(mappings);
      expect(natB!.counters.strays.udp).toBe(0);
      expect(world.drops.ttl).toBe(1);
    },
  );

  it('TTL 1 makes no mapping, and TTL 2 dies at the carrier', () => {
    const { world, a, natB, natsA } = twoLans({ a: 'cgnat', b: 'ei/apd' });
    for (const ttl of [1, 2]) a.udp().send(BYTE, { address: natB!.addresses[0]!, port: 5_000 }, ttl);
    world.runFor(100);
    expect(natsA.map(({ counters }) => counters.mappings.udp)).toEqual([1, 0]);
  });
});

describe('strays', () => {
  it('rst refuses a stray SYN at once, icmp-reject tells a host whose sockets never notice', () => {
    const { world, a, b, natA } = twoLans({
      a: 'ei/apd',
      b: 'ei/apd',
      natA: { tcp: { strays: 'rst' }, udp: { strays: 'icmp-reject' } },
    });
    const remote = { address: natA!.addresses[0]!, port: 5_000 };
    expect(outcomeOf(world, b.tcp.connect({ remote }))).toBe('refused');
    const socket = b.udp();
    let arrived = 0;
    socket.onDatagram = () => arrived++;
    socket.send(BYTE, remote);
    world.runFor(100);
    expect(b.unreachables).toBe(1);
    expect(arrived).toBe(0);
    expect(a.receivedFrom(b)).toEqual({ udp: 0, tcp: 0 });
    expect(natA!.counters.strays).toEqual({ udp: 1, tcp: 1 });
  });
});

describe('counters', () => {
  it('tell packets to and from each remote address', () => {
    const { world, a, b, natA, natB, direct } = twoLans({ a: 'ei/ei', b: 'ei/ei' });
    const [mappedA, mappedB] = [natA!, natB!].map((nat) => ({ address: nat.addresses[0]!, port: 5_000 }));
    const [socketA, socketB] = [a.udp(5_000), b.udp(5_000)];
    socketA.send(BYTE, mappedB!);
    socketB.send(BYTE, mappedA!);
    world.runFor(1);
    socketA.send(BYTE, mappedB!);
    world.runFor(100);
    expect(natA!.trafficWith(mappedB!.address)).toEqual({ udpOut: 2, udpIn: 1, tcpOut: 0, tcpIn: 0 });
    expect(direct()).toEqual({ udp: 2, tcp: 0 });
  });
});
