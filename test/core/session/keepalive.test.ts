import { describe, expect, it } from 'vitest';
import { keepaliveMs } from '../../../src/core/session/keepalive.ts';
import { Pair } from './pair.ts';

describe('the keepalive', () => {
  it.each([
    ['12 s before anything is measured', [undefined, undefined], 12_000],
    ['0.6 of the lifetime', [60, undefined], 36_000],
    ['the shorter end’s', [120, 30], 18_000],
    ['never below 10 s', [12, 120], 10_000],
  ])('is %s', (_, lifetimes, wanted) => {
    expect(keepaliveMs(...lifetimes)).toBe(wanted);
  });

  it.each([
    [12_000, 'before'],
    [30_000, 'before'],
    [30_000, 'after'],
  ])(
    'of a direct path on standby comes every %i ms, also where it came %s that was known',
    (everyMs, when) => {
      const pair = new Pair();
      const addStandby = () => pair.addPath({ delayMs: 30, info: { kind: 'udp' } });
      pair.addPath({ delayMs: 10, info: { kind: 'tcp' } });
      const before = when === 'before' ? addStandby() : undefined;
      pair.a.handle({ type: 'keepalive', everyMs });
      pair.b.handle({ type: 'keepalive', everyMs: 1e9 });
      const standby = before ?? addStandby();
      pair.run(60_000);
      const bytes = () =>
        pair.a.machine.stats.paths.find(({ path }) => path.id === standby)?.bytesOut ?? Number.NaN;
      const spans: number[] = [];
      for (let round = 0, since = pair.now, sent = bytes(); round < 4; round++) {
        pair.run(120_000, () => bytes() > sent);
        spans.push(pair.now - since);
        [since, sent] = [pair.now, bytes()];
      }
      expect(spans.slice(1).every((span) => Math.abs(span - everyMs) < 100)).toBe(true);
    },
  );
});
