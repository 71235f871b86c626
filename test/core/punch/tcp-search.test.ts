import { describe, expect, it } from 'vitest';
import { sequential, type NatOverrides } from '../../sim/nat-behavior.ts';
import type { NatName } from '../../sim/presets.ts';
import { traverse, type TraversalReport } from './traversal.ts';

/** Other hosts behind the same NAT take this many ports a second. */
const busy: NatOverrides = { tcp: { allocation: sequential(1, 20) } };
const blocked: NatOverrides = { udp: { blocked: true } };
const resets: NatOverrides = { udp: { blocked: true }, tcp: { strays: 'rst' } };

interface Tally {
  direct: number;
  median: number;
  most: number;
  dials: number;
}

/** Runs that were direct at both ends by one of these techniques, and when after T0 the later end was. */
function tally(runs: number, techniques: string[], meet: (seed: number) => TraversalReport): Tally {
  const times: number[] = [];
  let dials = 0;
  for (let seed = 0; seed < runs; seed++) {
    const { a, b } = meet(seed);
    dials = Math.max(dials, a.dialed, b.dialed);
    expect(a.tcp?.technique).toBe(b.tcp?.technique);
    if (!a.tcp || !b.tcp || !techniques.includes(a.tcp.technique)) continue;
    times.push(Math.max(a.tcp.elapsedMs, b.tcp.elapsedMs));
  }
  times.sort((x, y) => x - y);
  const median = times[Math.floor(times.length / 2)] ?? NaN;
  return { direct: times.length, median, most: times.at(-1) ?? NaN, dials };
}

describe('TCP prediction', () => {
  it.each<[string, NatName, NatName, NatOverrides, NatOverrides, number]>([
    ['quiet', 'udp-blocked', 'apd/apd-sequential', {}, {}, 0],
    ['busy', 'udp-blocked', 'apd/apd-sequential', {}, busy, 0],
    ['busy', 'apd/apd-sequential', 'udp-blocked', busy, {}, 5],
    ['the easy NAT answering strays by RST', 'udp-blocked', 'apd/apd-sequential', resets, busy, 0],
    ['the hard NAT answering strays by RST', 'udp-blocked', 'apd/apd-sequential', {}, resets, 0],
    ['both quiet', 'apd/apd-sequential', 'apd/apd-sequential', blocked, {}, 0],
    ['both busy', 'apd/apd-sequential', 'apd/apd-sequential', busy, busy, 0],
  ])('opens %s: %s × %s at least 95 times of 100', (name, a, b, natA, natB, lossPercent) => {
    const kinds = ['tcp', 'relay'] as const;
    const result = tally(
      100,
      lossPercent > 0 ? ['port prediction', 'birthday'] : ['port prediction'],
      (seed) => traverse({ a, b, natA, natB, delayMs: 20, lossPercent, seed, kinds }),
    );
    console.log(`${name}, ${a} × ${b}, ${lossPercent} % loss`, result);
    expect(result.direct).toBeGreaterThanOrEqual(95);
    expect(result.median).toBeLessThanOrEqual(350);
    expect(result.dials).toBeLessThanOrEqual(lossPercent > 0 ? 2_048 : 150);
  });
});

describe('a TCP birthday', () => {
  it.each<[string, NatName, NatName, NatOverrides, NatOverrides, number]>([
    ['quiet', 'udp-blocked', 'apd/apd-random', {}, {}, 0],
    ['lossy', 'cgnat-random', 'udp-blocked', {}, {}, 5],
    ['the easy NAT answering strays by RST', 'udp-blocked', 'apd/apd-random', resets, {}, 0],
    ['the hard NAT answering strays by RST', 'udp-blocked', 'apd/apd-random', {}, resets, 0],
    ['address-dependent mapping', 'ad/apd', 'udp-blocked', {}, {}, 0],
  ])('opens %s: %s × %s at least 45 times of 50', (name, a, b, natA, natB, lossPercent) => {
    const kinds = ['udp', 'tcp', 'relay'] as const;
    const result = tally(50, ['birthday'], (seed) =>
      traverse({ a, b, natA, natB, delayMs: 20, lossPercent, seed, kinds }),
    );
    console.log(`${name}, ${a} × ${b}, ${lossPercent} % loss`, result);
    expect(result.direct).toBeGreaterThanOrEqual(45);
    expect(result.median).toBeLessThanOrEqual(1_000);
    expect(result.dials).toBeLessThanOrEqual(2_048);
  });

  it('is held as soon as UDP turns out to be blocked, up to two seconds after T0', () => {
    const kinds = ['udp', 'tcp', 'relay'] as const;
    for (const late of [0, 500, 2_000]) {
      const { a, b } = traverse({
        a: 'udp-blocked',
        b: 'apd/apd-random',
        initiatorMeasuredAfterMs: late,
        delayMs: 20,
        kinds,
      });
      expect([a.tcp?.technique, b.tcp?.technique]).toEqual(['birthday', 'birthday']);
      expect(a.sent + b.sent).toBeLessThanOrEqual(200); // no search by UDP before
    }
  });

  it('is not held where UDP passes', () => {
    const kinds = ['udp', 'tcp', 'relay'] as const;
    const { a, b } = traverse({ a: 'ei/apd', b: 'apd/apd-random', delayMs: 20, kinds });
    for (const end of [a, b]) {
      expect(end.tcp).toBeUndefined();
      expect(end.dialed).toBeLessThanOrEqual(20);
      expect(end.failures.find(({ transport }) => transport === 'tcp')?.code).toBe('ONE_UNPREDICTABLE');
    }
  });
});

describe('connect then listen', () => {
  it.each<[NatName, NatName]>([
    ['ei/ad', 'apd/apd-random'],
    ['ad/apd', 'ei/ad'],
    ['cgnat-random', 'ei/ad'],
  ])('opens %s × %s: the NAT that lets in whom it dialled has the listener', (a, b) => {
    const kinds = ['tcp', 'relay'] as const;
    for (const skewMs of [0, 30, 300]) {
      const report = traverse({ a, b, delayMs: 20, skewMs, kinds });
      for (const end of [report.a, report.b]) expect(end.tcp?.technique).toBe('connect then listen');
    }
  });
});
