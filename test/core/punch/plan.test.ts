import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NatProfile, TransportProfile } from '../../../src/core/nat/behavior.ts';
import { plan, type Plan } from '../../../src/core/punch/plan.ts';
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
    { kind: 'random' as const },
    { kind: 'unknown' as const },
  ),
  strays: fc.constantFrom('drop' as const, 'reset' as const, 'unknown' as const),
  hairpin: fc.constantFrom(true, false, undefined),
  lifetimeSeconds: fc.constant(undefined),
  publicAddresses: fc.subarray(['192.0.2.1', '192.0.2.2', '192.0.2.3']),
});

const profile: fc.Arbitrary<NatProfile> = fc.record({
  version: fc.nat(9),
  udp: transportProfile,
  tcp: transportProfile,
});

const situation: fc.Arbitrary<PeerSituation> = fc.record({
  profile,
  kinds: fc.subarray<PathChoice>(['udp', 'tcp', 'relay']),
});

describe('plan', () => {
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
});
