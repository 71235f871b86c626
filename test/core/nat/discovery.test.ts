import { describe, expect, it } from 'vitest';
import type { FilteringBehavior, MappingBehavior, TransportProfile } from '../../../src/core/nat/behavior.ts';
import { isAttested } from '../../../src/core/protocol/attestation.ts';
import { NAT_NAMES, twoLans, type NatName } from '../../sim/presets.ts';
import { deployment, measureTcp, measureUdp, peer, startStun, startWitness } from './stun-world.ts';

const NONE = 'none';
const EI = 'endpoint-independent';
const AD = 'address-dependent';
const APD = 'address-and-port-dependent';
type Allocation = TransportProfile['allocation']['kind'];

/** What each NAT is, for UDP: reachable, mapping, filtering, allocation; and for TCP: reachable, mapping. */
const TRUTH: Record<NatName, { udp: Udp | undefined; tcp: MappingBehavior | undefined }> = {
  open: { udp: [NONE, NONE, 'preserving'], tcp: NONE },
  'ei/ei': { udp: [EI, EI, 'preserving'], tcp: EI },
  'ei/ad': { udp: [EI, AD, 'preserving'], tcp: EI },
  'ei/apd': { udp: [EI, APD, 'preserving'], tcp: EI },
  'ad/ad': { udp: [AD, AD, 'random'], tcp: AD },
  'ad/apd': { udp: [AD, APD, 'random'], tcp: AD },
  'apd/apd-random': { udp: [APD, APD, 'random'], tcp: APD },
  'apd/apd-sequential': { udp: [APD, APD, 'sequential'], tcp: APD },
  'udp-blocked': { udp: undefined, tcp: EI },
  'tcp443-only': { udp: undefined, tcp: undefined },
  cgnat: { udp: [EI, APD, 'preserving'], tcp: EI },
  'cgnat-random': { udp: [APD, APD, 'random'], tcp: APD },
  'same-lan': { udp: [EI, APD, 'preserving'], tcp: EI },
  'same-nat': { udp: [EI, APD, 'preserving'], tcp: EI },
  'same-nat-no-hairpin': { udp: [EI, APD, 'preserving'], tcp: EI },
};
type Udp = [MappingBehavior, FilteringBehavior, Allocation];

const SEEDS = Array.from({ length: 20 }, (_, seed) => seed);

function internet(nat: NatName, seed: number, lossPercent = 0) {
  const jitterMs = lossPercent > 0 ? 5 : 0;
  return twoLans({ a: nat, b: nat, delayMs: 20, jitterMs, lossPercent, seed });
}

function runUdp(nat: NatName, seed: number, lossPercent = 0) {
  const { world, a, server } = internet(nat, seed, lossPercent);
  const measured = measureUdp(a, startStun(server));
  world.runFor(4_000);
  return measured;
}

function runTcp(nat: NatName, seed: number, lossPercent = 0) {
  const { world, a, server } = internet(nat, seed, lossPercent);
  const measured = measureTcp(a, startStun(server));
  world.runFor(10_000);
  return measured;
}

/** True where nothing measured contradicts the truth; unknown contradicts nothing. */
function agrees(measured: string | undefined, truth: string): boolean {
  return measured === truth || measured === 'unknown' || measured === undefined;
}

describe.each(NAT_NAMES)('discovery behind %s', (nat) => {
  const truth = TRUTH[nat];

  it('measures UDP as it is, in at most six transactions and 1.5 s', () => {
    for (const seed of SEEDS) {
      const { profile, complete, completeAt, requests } = runUdp(nat, seed);
      expect(complete).toBe(true);
      expect(completeAt).toBeLessThanOrEqual(1_500);
      expect(requests.size).toBeLessThanOrEqual(6);
      expect(profile?.reachable).toBe(truth.udp !== undefined);
      const [mapping, filtering, allocation] = truth.udp ?? ['unknown', 'unknown', 'unknown'];
      expect([profile?.mapping, profile?.filtering]).toEqual([mapping, filtering]);
      expect(agrees(profile?.allocation.kind, allocation)).toBe(true);
      expect(profile?.provisional).toBe(truth.udp === undefined);
    }
  });

  it('says nothing wrong of UDP at 10 % loss', () => {
    for (const seed of SEEDS) {
      const { profile } = runUdp(nat, seed, 10);
      const [mapping, filtering, allocation] = truth.udp ?? ['unknown', 'unknown', 'unknown'];
      expect(profile?.reachable).toBe(truth.udp !== undefined);
      expect(agrees(profile?.mapping, mapping)).toBe(true);
      expect(agrees(profile?.filtering, filtering)).toBe(true);
      expect(agrees(profile?.allocation.kind, allocation)).toBe(true);
    }
  });

  it('measures TCP mapping as it is, without loss and with 10 %', () => {
    for (const seed of SEEDS) {
      for (const loss of [0, 10]) {
        const { profile, complete } = runTcp(nat, seed, loss);
        expect(complete).toBe(true);
        expect(profile?.reachable).toBe(truth.tcp !== undefined);
        const mapping = truth.tcp ?? 'unknown';
        expect(loss === 0 ? profile?.mapping === mapping : agrees(profile?.mapping, mapping)).toBe(true);
      }
    }
  });
});

describe('UDP discovery', () => {
  it('tells the mapping after one round trip, attested by the rendezvous', () => {
    const { mappedAt, candidates } = runUdp('ei/apd', 1);
    expect(mappedAt).toBeLessThanOrEqual(45);
    const [candidate] = candidates;
    expect(candidate).toMatchObject({ type: 'srflx', endpoint: { address: '198.51.100.10' } });
    expect(isAttested(candidate!, peer.id, deployment.id, 100)).toBe(true);
  });

  it('calls verdicts from one server address provisional', () => {
    for (const [nat, filtering] of [
      ['ei/ei', AD],
      ['ei/apd', APD],
      ['ad/apd', APD],
    ] as const) {
      const { world, a, server } = internet(nat, 1);
      const measured = measureUdp(a, startStun(server, 1));
      world.runFor(2_000);
      expect(measured.profile).toMatchObject({ mapping: EI, filtering, provisional: true });
    }
  });

  it.each([
    ['open', NONE, AD, true],
    ['ei/ei', EI, AD, true],
    ['ei/ad', EI, AD, true],
    ['ei/apd', EI, APD, false],
    ['ad/apd', AD, APD, false],
    ['apd/apd-random', APD, APD, false],
  ] as const)('tells the mapping of %s by one server address and a witness elsewhere', (...expected) => {
    const [nat, mapping, filtering, provisional] = expected;
    for (const seed of SEEDS) {
      const { world, a, server } = internet(nat, seed);
      const witness = startWitness(world.server(1));
      const measured = measureUdp(a, startStun(server, 1), witness);
      world.runFor(2_000);
      expect(measured.profile).toMatchObject({ mapping, filtering, provisional });
      expect(measured.requests.size).toBeLessThanOrEqual(6);
      expect(measured.completeAt).toBeLessThanOrEqual(1_500);
    }
  });

  it('takes a witness’s word for the mapping alone: no candidate, no public address', () => {
    const { world, a, server } = internet('ad/apd', 1);
    const measured = measureUdp(a, startStun(server, 1), startWitness(world.server(1)));
    world.runFor(2_000);
    expect(measured.candidates.length).toBe(1);
    expect(isAttested(measured.candidates[0]!, peer.id, deployment.id, 100)).toBe(true);
    expect(measured.profile?.publicAddresses).toEqual(['198.51.100.10']);
  });

  it('measures as without it where a witness is silent', () => {
    for (const nat of ['ei/ei', 'ad/apd'] as const) {
      const profiles = [false, true].map((isNamed) => {
        const { world, a, server } = internet(nat, 1);
        const silent = { address: world.server(1).address, port: 3478 };
        const measured = measureUdp(a, startStun(server, 1), isNamed ? silent : undefined);
        world.runFor(2_000);
        expect(measured.completeAt).toBeLessThanOrEqual(1_500);
        return { ...measured.profile };
      });
      expect(profiles[1]).toEqual(profiles[0]);
    }
  });

  it('asks no witness where the server has two addresses', () => {
    const { world, a, server } = internet('ad/apd', 1);
    const other = world.server(1);
    const measured = measureUdp(a, startStun(server), startWitness(other));
    world.runFor(2_000);
    expect(measured.profile).toMatchObject({ mapping: AD, provisional: false });
    expect(other.receivedFrom(a).udp).toBe(0);
  });

  it('keeps the attestation fresh, and measures again when the mapping has moved', () => {
    const { world, a, server, natA } = internet('ei/apd', 1);
    const measured = measureUdp(a, startStun(server));
    world.runFor(60_000);
    expect(measured.candidates.length).toBe(3);
    natA!.rebind(['198.51.100.77']);
    world.runFor(30_000);
    expect(measured.candidates.at(-1)?.endpoint.address).toBe('198.51.100.77');
    expect(measured.profile?.publicAddresses).toEqual(['198.51.100.77']);
  });

  it('measures again when a network that had been left is come back to', () => {
    const { world, a, server, natA } = internet('ei/apd', 1);
    const measured = measureUdp(a, startStun(server));
    world.runFor(5_000);
    const home = measured.profile!.publicAddresses;
    for (const addresses of [['198.51.100.77'], home]) {
      natA!.rebind(addresses);
      world.runFor(30_000);
      expect(measured.profile!.publicAddresses).toEqual(addresses);
    }
  });
});

describe('TCP discovery', () => {
  it('holds the mapping of one port and lets the others go', () => {
    const { world, a, server } = internet('ei/apd', 1);
    const measured = measureTcp(a, startStun(server));
    world.runFor(100_000);
    expect(measured.connections.size).toBe(1);
    expect([...measured.connections.values()][0]?.local.port).toBe(measured.heldPort);
    expect(measured.candidates.length).toBe(4);
    const newest = measured.candidates.at(-1)!;
    expect(newest).toMatchObject({ type: 'srflx', transport: 'tcp' });
    expect(isAttested(newest, peer.id, deployment.id, 100_000)).toBe(true);
  });

  it('dials again when the held connection ends', () => {
    const { world, a, server } = internet('ei/apd', 1);
    const measured = measureTcp(a, startStun(server));
    world.runFor(2_000);
    const port = measured.heldPort;
    const before = measured.candidates.length;
    measured.connections.forEach((connection) => connection.fail('ECONNRESET'));
    world.runFor(10);
    expect(measured.heldPort).toBe(0);
    world.runFor(2_000);
    expect(measured.heldPort).toBe(port);
    expect(measured.candidates.length).toBe(before + 1);
    expect(measured.profile).toMatchObject({ reachable: true, mapping: EI });
  });
});
