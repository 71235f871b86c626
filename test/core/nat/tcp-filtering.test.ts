import { describe, expect, it } from 'vitest';
import type { FilteringBehavior, MappingBehavior } from '../../../src/core/nat/behavior.ts';
import { TcpFiltering } from '../../../src/core/nat/tcp-filtering.ts';
import type { TcpStrays } from '../../sim/nat-behavior.ts';
import { twoLans, type NatName } from '../../sim/presets.ts';
import { surveyOptions, surveyTcp, type Surveyed } from './survey-world.ts';
import { startStun } from './stun-world.ts';

const EI = 'endpoint-independent';
const AD = 'address-dependent';
const APD = 'address-and-port-dependent';

/** Each NAT's mapping and filter for TCP; a NAT that lets everything in has no strays. */
const TRUTH: [NatName, MappingBehavior, FilteringBehavior][] = [
  ['open', 'none', 'none'],
  ['ei/ei', EI, EI],
  ['ei/ad', EI, AD],
  ['ei/apd', EI, APD],
  ['apd/apd-random', APD, APD],
  ['cgnat', EI, APD],
];
const SEEDS = Array.from({ length: 50 }, (_, seed) => seed);

interface Case {
  readonly nat: NatName;
  readonly mapping: MappingBehavior;
  readonly strays?: TcpStrays;
  readonly lossPercent?: number;
  readonly addresses?: 1 | 2;
  readonly seed?: number;
}

function measure({ nat, mapping, strays, lossPercent = 0, addresses = 2, seed = 1 }: Case): Surveyed {
  const natA = strays ? { tcp: { strays } } : {};
  const { world, a, server } = twoLans({ a: nat, b: 'open', natA, delayMs: 20, lossPercent, seed });
  const servers = startStun(server, addresses);
  const surveyed = surveyTcp(a, new TcpFiltering({ ...surveyOptions(a, servers), mapping }));
  world.runFor(10_000);
  return surveyed;
}

describe('TCP filtering by dials back', () => {
  it.each(TRUTH)('tells the filter of %s, and that strays are dropped', (nat, mapping, filtering) => {
    const { profile, at } = measure({ nat, mapping });
    const isOpen = filtering === 'none' || filtering === EI;
    expect(profile).toEqual({ filtering, strays: isOpen ? 'unknown' : 'drop' });
    expect(at).toBeLessThan(2_500);
  });

  it.each(TRUTH.slice(2))('tells that strays are answered by RST: %s', (nat, mapping, filtering) => {
    for (const strays of ['rst', 'accept'] as const) {
      const { profile, at } = measure({ nat, mapping, strays });
      expect(profile).toEqual({ filtering, strays: 'reset' });
      expect(at).toBeLessThan(filtering === APD ? 500 : 2_500);
    }
  });

  it.each(TRUTH)('says nothing wrong of %s at 10 % loss', (nat, mapping, filtering) => {
    for (const seed of SEEDS) {
      for (const strays of ['drop', 'rst'] as const) {
        const { profile } = measure({ nat, mapping, strays, lossPercent: 10, seed });
        expect(['unknown', filtering]).toContain(profile?.filtering);
        expect(['unknown', strays === 'rst' ? 'reset' : 'drop']).toContain(profile?.strays);
      }
    }
  });

  it('knows only the strictest filter where the server has one address', () => {
    expect(measure({ nat: 'ei/apd', mapping: EI, addresses: 1 }).profile?.filtering).toBe(APD);
    expect(measure({ nat: 'ei/ad', mapping: EI, addresses: 1 }).profile?.filtering).toBe('unknown');
    expect(measure({ nat: 'ei/ei', mapping: EI, addresses: 1 }).profile?.filtering).toBe('unknown');
  });

  it('gives up where no server is reached', () => {
    const { profile, at } = measure({ nat: 'tcp443-only', mapping: EI });
    expect(profile).toEqual({ filtering: 'unknown', strays: 'unknown' });
    expect(at).toBeLessThan(10_000);
  });
});
