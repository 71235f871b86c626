import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UNMEASURED, type NatProfile, type TransportProfile } from '../../../src/core/nat/behavior.ts';
import { PunchAgent } from '../../../src/core/punch/agent.ts';
import { plan, type Plan } from '../../../src/core/punch/plan.ts';
import type { Stage } from '../../../src/core/punch/stage.ts';
import type { PathChoice, PeerSituation } from '../../../src/core/punch/situation.ts';

const behavior = fc.constantFrom(
  'none' as const,
  'endpoint-independent' as const,
  'address-dependent' as const,
  'address-and-port-dependent' as const,
  'unknown' as const,
);

const transportProfile: fc.Arbitrary<TransportProfile> = fc.record({
  reachable: fc.constantFrom(true, false, undefined),
  mapping: behavior,
  filtering: behavior,
  provisional: fc.boolean(),
  allocation: fc.constantFrom(
    { kind: 'preserving' as const },
    { kind: 'sequential' as const, step: 1 },
    { kind: 'sequential' as const, step: -2 },
    { kind: 'random' as const },
    { kind: 'unknown' as const },
  ),
  strays: fc.constantFrom('drop' as const, 'reset' as const, 'unknown' as const),
  hairpin: fc.constantFrom(true, false, undefined),
  lifetimeSeconds: fc.constant(undefined),
  publicAddresses: fc.subarray(['192.0.2.1', '192.0.2.2', '192.0.2.3']),
});

const mappable = fc
  .tuple(transportProfile, fc.constantFrom(true, undefined))
  .map(([measured, portMapped]) => ({ ...measured, portMapped }));

const profile: fc.Arbitrary<NatProfile> = fc.record({
  version: fc.nat(9),
  udp: mappable,
  tcp: mappable,
});

const situation: fc.Arbitrary<PeerSituation> = fc.record({
  profile,
  kinds: fc.subarray<PathChoice>(['udp', 'tcp', 'relay']),
});

describe('plan', () => {
  it('sends or dials to a port that a router leads to an end, and searches none then', () => {
    const hard: TransportProfile = {
      ...UNMEASURED,
      reachable: true,
      mapping: 'address-and-port-dependent',
      filtering: 'address-and-port-dependent',
      provisional: false,
      allocation: { kind: 'random' },
    };
    const easy: TransportProfile = { ...hard, mapping: 'endpoint-independent' };
    const kinds = ['udp', 'tcp', 'relay'] as const;
    const behind = (measured: TransportProfile): PeerSituation => ({
      profile: { version: 1, udp: measured, tcp: measured },
      kinds,
    });
    const techniques = (a: TransportProfile, b: TransportProfile) =>
      plan(behind(a), behind(b))
        .stages.filter(({ technique }) => technique !== 'local addresses')
        .map(({ technique, transport }) => `${transport} ${technique}`);
    const mapped = { ...hard, portMapped: true };
    expect(techniques(hard, hard)).toEqual([]);
    for (const other of [hard, easy, mapped]) {
      expect(techniques(other, mapped)).toEqual(['udp mapped port', 'tcp mapped port']);
      expect(techniques(mapped, other)).toEqual(['udp mapped port', 'tcp mapped port']);
    }
    expect(techniques(easy, { ...easy, portMapped: true })).toEqual([
      'udp mapped port',
      'udp simultaneous probes',
      'tcp mapped port',
      'tcp simultaneous open',
    ]);
  });

  it('says for each transport what is tried beyond local addresses, or why not', () => {
    fc.assert(
      fc.property(situation, situation, (a, b) => {
        const { stages, unreachable } = plan(a, b);
        for (const transport of ['udp', 'tcp'] as const) {
          const tried = stages.some(
            (stage) => stage.transport === transport && stage.technique !== 'local addresses',
          );
          expect(tried).toBe(unreachable[transport] === undefined);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('gives the same prospects whoever initiates', () => {
    const prospects = ({ stages }: Plan) =>
      stages.map(({ transport, probability, packets }) => [transport, probability, packets]);
    fc.assert(
      fc.property(situation, situation, (a, b) => {
        expect(prospects(plan(a, b))).toEqual(prospects(plan(b, a)));
        expect(Object.keys(plan(a, b).unreachable)).toEqual(Object.keys(plan(b, a).unreachable));
      }),
      { numRuns: 2_000 },
    );
  });

  it('tries every pair of mappings that may be endpoint-independent', () => {
    const mayBeEasy = transportProfile.map((nat): TransportProfile => ({
      ...nat,
      reachable: undefined,
      mapping: nat.mapping.endsWith('-dependent') ? 'unknown' : nat.mapping,
      publicAddresses: [],
    }));
    fc.assert(
      fc.property(mayBeEasy, mayBeEasy, (x, y) => {
        const [a, b] = [x, y].map((nat): PeerSituation => ({
          profile: { version: 1, udp: nat, tcp: nat },
          kinds: ['udp', 'tcp'],
        }));
        expect(plan(a!, b!).unreachable).toEqual({});
      }),
    );
  });

  it('stays within its budgets', () => {
    fc.assert(
      fc.property(situation, situation, (a, b) => {
        for (const { packets, seconds, probability } of plan(a, b).stages) {
          expect(packets).toBeLessThanOrEqual(2_048);
          expect(seconds).toBeLessThanOrEqual(10);
          expect(probability).toBeGreaterThan(0);
          expect(probability).toBeLessThanOrEqual(1);
        }
      }),
    );
  });

  it('tries no kind of path that one end does not allow', () => {
    fc.assert(
      fc.property(situation, situation, (a, b) => {
        for (const { transport } of plan(a, b).stages) {
          expect([a, b].every(({ kinds }) => kinds.includes(transport))).toBe(true);
        }
      }),
    );
  });

  it('gives every pair that theory allows a way, and no other', () => {
    fc.assert(
      fc.property(measured, measured, (x, y) => {
        const { unreachable } = plan(allowingAll(x), allowingAll(y));
        expect(unreachable.udp === undefined).toBe(udpCanMeet(x.udp, y.udp));
        const udpBlocked = !x.udp.reachable || !y.udp.reachable;
        expect(unreachable.tcp === undefined).toBe(tcpCanMeet(x.tcp, y.tcp, udpBlocked));
      }),
      { numRuns: 5_000 },
    );
  });

  it('spends nothing on two dependent mappings of which one is unpredictable, and says why', () => {
    const dependent = measured.map((nat) => withDependent(nat));
    fc.assert(
      fc.property(dependent, dependent, (x, y) => {
        if (isCounting(x.udp) && isCounting(y.udp)) return;
        const { stages, unreachable } = plan(allowingAll(x), allowingAll(y));
        expect(stages.every(({ technique }) => technique === 'local addresses')).toBe(true);
        expect(unreachable.udp?.code).toBe('BOTH_UNPREDICTABLE');
        expect(unreachable.tcp?.code).toBe('BOTH_UNPREDICTABLE');
        expect(unreachable.udp?.remedy).toMatch(/UPnP/);
      }),
    );
  });

  it('has a birthday over TCP only where no UDP passes', () => {
    fc.assert(
      fc.property(situation, situation, (a, b) => {
        const held = plan(a, b).stages.some((stage) => isBirthday(stage) && stage.transport === 'tcp');
        const blocked = [a, b].some(({ profile: { udp } }) => udp.reachable === false);
        expect(held && !blocked).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });

  it('sends 2,048 packets at most by one transport, all its stages together', () => {
    fc.assert(
      fc.property(situation, situation, (a, b) => {
        for (const transport of ['udp', 'tcp'] as const) {
          const ways = plan(a, b).stages.filter(
            (stage) => stage.transport === transport && stage.technique !== 'local addresses',
          );
          expect(ways.reduce((sum, { packets }) => sum + packets, 0)).toBeLessThanOrEqual(2_048);
        }
      }),
    );
  });

  it('is the same at both ends', () => {
    const keys = { username: 'u', sendKey: new Uint8Array(32), receiveKey: new Uint8Array(32) };
    fc.assert(
      fc.property(situation, situation, (a, b) => {
        const [initiator, responder] = (['initiator', 'responder'] as const).map((role) => {
          const [local, remote] = role === 'initiator' ? [a, b] : [b, a];
          const agent = new PunchAgent({ role, credentials: keys, kinds: local.kinds });
          agent.handle({ type: 'local', profile: local.profile }, 0);
          agent.handle({ type: 'remote', profile: remote.profile, kinds: remote.kinds }, 0);
          return agent.plan;
        });
        expect(initiator).toEqual(responder);
      }),
    );
  });

  it.each([
    ['none', 'peer-reflexive answer', 'direct dial'],
    ['endpoint-independent', 'peer-reflexive answer', 'direct dial'],
    ['address-dependent', 'peer-reflexive answer', 'connect then listen'],
    ['address-and-port-dependent', 'birthday', undefined],
  ] as const)('meets an address-dependent mapping where the other filter is %s', (filtering, udp, tcp) => {
    const hard = nat({ mapping: 'address-dependent', allocation: { kind: 'random' } });
    const easy = nat({ mapping: 'endpoint-independent', filtering });
    const { stages } = plan(allowingAll(hard), allowingAll(easy));
    const by = (transport: 'udp' | 'tcp') =>
      stages.find((stage) => stage.transport === transport && stage.technique !== 'local addresses');
    expect([by('udp')?.technique, by('tcp')?.technique]).toEqual([udp, tcp]);
  });

  it('searches nothing where the other filter is open, whatever that mapping is', () => {
    const hard = nat({ mapping: 'address-and-port-dependent', allocation: { kind: 'random' } });
    const open = nat({ mapping: 'unknown', filtering: 'endpoint-independent' });
    const { stages } = plan(allowingAll(hard), allowingAll(open));
    expect(stages.filter(({ transport }) => transport === 'udp').map(({ technique }) => technique)).toEqual([
      'local addresses',
      'peer-reflexive answer',
    ]);
  });

  it('tries behind one NAT without a hairpin what costs little, and searches nothing', () => {
    const behindOne = { publicAddresses: ['198.51.100.1'], hairpin: false };
    const planned = (fields: Partial<TransportProfile>) => {
      const here = allowingAll(nat({ ...fields, ...behindOne }));
      const { stages, unreachable } = plan(here, here);
      return { ways: stages.filter(({ technique }) => technique !== 'local addresses'), unreachable };
    };
    const easy = planned({ mapping: 'endpoint-independent' });
    expect(easy.ways.map(({ technique }) => technique)).toEqual(['simultaneous probes', 'simultaneous open']);
    for (const { probability, packets } of easy.ways) {
      expect(probability).toBeLessThan(0.25);
      expect(packets).toBeLessThanOrEqual(40);
    }
    const hard = planned({
      mapping: 'address-and-port-dependent',
      allocation: { kind: 'sequential', step: 1 },
    });
    expect(hard.ways).toEqual([]);
    expect(hard.unreachable).toMatchObject({ udp: { code: 'NO_HAIRPIN' }, tcp: { code: 'NO_HAIRPIN' } });
  });

  it('tries a filter that is not known with a few dials, before it gives up on TCP', () => {
    const hard = nat({ mapping: 'address-and-port-dependent', allocation: { kind: 'random' } });
    const easy = nat({ mapping: 'endpoint-independent', filtering: 'unknown' });
    const { stages } = plan(allowingAll(easy), allowingAll(hard));
    expect(stages.at(-1)).toMatchObject({ technique: 'connect then listen', listener: 'initiator' });
  });
});

/** Of one network, everything measured; the two networks have nothing in common. */
const known: fc.Arbitrary<TransportProfile> = transportProfile
  .filter(({ mapping, filtering }) => mapping !== 'unknown' && filtering !== 'unknown')
  .map((profile) => ({
    ...profile,
    reachable: profile.reachable ?? true,
    provisional: false,
    publicAddresses: [],
  }));

const measured: fc.Arbitrary<NatProfile> = fc.record({ version: fc.constant(1), udp: known, tcp: known });

function nat(fields: Partial<TransportProfile>): NatProfile {
  const strict = { ...UNMEASURED, reachable: true, provisional: false };
  const profile = { ...strict, filtering: 'address-and-port-dependent' as const, ...fields };
  return { version: 1, udp: profile, tcp: profile };
}

function allowingAll(profile: NatProfile): PeerSituation {
  return { profile, kinds: ['udp', 'tcp', 'relay'] };
}

function withDependent({ version, udp, tcp }: NatProfile): NatProfile {
  const hard = {
    reachable: true,
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
  } as const;
  return { version, udp: { ...udp, ...hard }, tcp: { ...tcp, ...hard, allocation: udp.allocation } };
}

const isDependent = ({ mapping }: TransportProfile) =>
  mapping.endsWith('dependent') && mapping.startsWith('address');
const isCounting = ({ allocation }: TransportProfile) => allocation.kind === 'sequential';
const isOpen = ({ filtering }: TransportProfile) =>
  filtering === 'none' || filtering === 'endpoint-independent';
const isOpenToPorts = (profile: TransportProfile) =>
  isOpen(profile) || profile.filtering === 'address-dependent';
const isBirthday = ({ technique }: Stage) => technique === 'birthday';

/** One end that can be aimed at is enough; else both have to count, or one to be open, or to answer by the mapping that was met. */
function udpCanMeet(x: TransportProfile, y: TransportProfile): boolean {
  if (!x.reachable || !y.reachable) return false;
  if (!isDependent(x) || !isDependent(y)) return true;
  const answers = [x, y].some((end) => end.mapping === 'address-dependent' && isOpenToPorts(end));
  return (isOpen(x) && isOpen(y)) || answers || (isCounting(x) && isCounting(y));
}

/** As for UDP, but that a random port is not searched while UDP passes. */
function tcpCanMeet(x: TransportProfile, y: TransportProfile, udpBlocked: boolean): boolean {
  if (!x.reachable || !y.reachable) return false;
  if (!isDependent(x) && !isDependent(y)) return true;
  if (isDependent(x) && isDependent(y)) return isCounting(x) && isCounting(y);
  const [hard, easy] = isDependent(x) ? [x, y] : [y, x];
  return isCounting(hard) || isOpenToPorts(easy) || udpBlocked;
}
