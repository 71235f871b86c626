import { describe, expect, it } from 'vitest';
import { UdpHairpin } from '../../../src/core/nat/udp-hairpin.ts';
import { UdpLifetime } from '../../../src/core/nat/udp-lifetime.ts';
import type { NatOverrides } from '../../sim/nat-behavior.ts';
import { twoLans, type NatName } from '../../sim/presets.ts';
import { surveyOptions, surveyUdp, type Surveyed } from './survey-world.ts';
import { startStun } from './stun-world.ts';

const EI = 'endpoint-independent';
const APD = 'address-and-port-dependent';
const SEEDS = Array.from({ length: 20 }, (_, seed) => seed);

interface Case {
  readonly nat?: NatName;
  readonly natA?: NatOverrides;
  readonly lossPercent?: number;
  readonly seed?: number;
}

function world({ nat = 'ei/apd', natA = {}, lossPercent = 0, seed = 1 }: Case) {
  return twoLans({ a: nat, b: 'open', natA, delayMs: 20, lossPercent, seed });
}

describe('hairpinning', () => {
  const measure = (options: Case, mapping: typeof EI | typeof APD = EI): Surveyed => {
    const { world: internet, a, server } = world(options);
    const surveyed = surveyUdp(a, new UdpHairpin({ ...surveyOptions(a, startStun(server)), mapping }));
    internet.runFor(5_000);
    return surveyed;
  };

  it('is seen with either source, and within 100 ms', () => {
    for (const hairpin of ['external-source', 'internal-source'] as const) {
      const { profile, at } = measure({ natA: { hairpin } });
      expect(profile).toEqual({ hairpin: true });
      expect(at).toBeLessThan(100);
    }
  });

  it('is denied after silence, where the mapping is one for all', () => {
    expect(measure({}).profile).toEqual({ hairpin: false });
    expect(measure({ nat: 'apd/apd-random' }, APD).profile).toEqual({});
  });

  it('says nothing wrong at 10 % loss', () => {
    for (const seed of SEEDS) {
      for (const hairpin of ['external-source', 'none'] as const) {
        const { profile } = measure({ natA: { hairpin }, lossPercent: 10, seed });
        expect([undefined, hairpin !== 'none']).toContain(profile?.hairpin);
      }
    }
  });

  it('says nothing where no server answers', () => {
    expect(measure({ nat: 'udp-blocked' }).profile).toEqual({});
  });
});

describe('the lifetime of an idle mapping', () => {
  const measure = (lifetimeMs: number, options: Case = {}): Surveyed => {
    const { world: internet, a, server } = world({ natA: { udp: { lifetimeMs } }, ...options });
    const surveyed = surveyUdp(a, new UdpLifetime(surveyOptions(a, startStun(server))));
    internet.runFor(200_000);
    return surveyed;
  };

  it.each([
    [5_000, 0],
    [10_000, 10],
    [20_000, 10],
    [30_000, 30],
    [65_000, 60],
    [120_000, 120],
    [300_000, 120],
  ])('of %d ms is known by the longest silence that it outlives: %d s', (lifetimeMs, lifetimeSeconds) => {
    for (const nat of ['ei/apd', 'apd/apd-random', 'cgnat'] as const) {
      expect(measure(lifetimeMs, { nat }).profile).toEqual({ lifetimeSeconds });
    }
  });

  it('takes no longer than to the first silence that it does not outlive', () => {
    expect(measure(20_000).at).toBeLessThan(40_000);
    expect(measure(120_000).at).toBeLessThan(126_000);
  });

  it('says nothing wrong at 10 % loss', () => {
    for (const seed of SEEDS) {
      const { profile } = measure(30_000, { lossPercent: 10, seed });
      expect([undefined, 30]).toContain(profile?.lifetimeSeconds);
    }
  });

  it('says nothing where the answers to one socket do not reach another, as with a pool of addresses', () => {
    const { world: internet, a, server, natA } = world({ natA: { pooling: 'arbitrary' } });
    natA!.rebind(Array.from({ length: 100 }, (_, i) => `198.51.100.${i + 30}`));
    const surveyed = surveyUdp(a, new UdpLifetime(surveyOptions(a, startStun(server))));
    internet.runFor(200_000);
    expect(surveyed.profile).toEqual({});
  });
});
