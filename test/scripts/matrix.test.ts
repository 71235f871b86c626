import { describe, expect, it } from 'vitest';
import { cellOf, failedRun, type Run } from '../../scripts/matrix/cell.ts';
import { document } from '../../scripts/matrix/document.ts';
import { meetOverKernel } from '../../scripts/matrix/kernel.ts';
import { EIGHT, eightByEight, specialPairs, type Pair } from '../../scripts/matrix/pairs.ts';
import { canBeSimulated, meetInVirtualTime } from '../../scripts/matrix/simulated.ts';
import { labSupport } from '../netns/lab.ts';

const ignore = () => {};

function pair(name: string): Pair {
  return [...eightByEight, ...specialPairs].find((pair) => pair.name === name)!;
}

describe('the matrix', () => {
  it('has 36 pairs of eight NATs, 31 of which can be direct', () => {
    expect(eightByEight).toHaveLength(36);
    expect(eightByEight.filter(({ best }) => best !== 'relay')).toHaveLength(31);
  });

  it('tells the median and the ninth decile of what succeeded, and why the rest did not', () => {
    const run = (confirmedMs: number): Run => ({
      shortfall: undefined,
      technique: 'birthday',
      confirmedMs,
      packets: confirmedMs,
      reason: undefined,
    });
    const times = [100, 300, 200, 400, 500, 600, 700, 800, 900, 1_000];
    const cell = cellOf(pair('ei/apd × apd/apd-random'), [...times.map(run), failedRun('silence')]);
    expect(cell).toMatchObject({ runs: 11, good: 10, medianMs: 500, p90Ms: 900, mostMs: 1_000 });
    expect(cell).toMatchObject({ techniques: { birthday: 10 }, shortfalls: ['silence'] });
    const text = document([cell], { sim: false, runs: 11, delayMs: 20, lossPercent: 0, seconds: 1 });
    expect(text).toMatch(/\*\*ei\/apd\*\* .*B 10\/11 500/);
    expect(text).toContain('**falls short**: silence');
  });

  it('is filled in virtual time for every pair of the eight', () => {
    expect(eightByEight.every(canBeSimulated)).toBe(true);
    expect(EIGHT).toHaveLength(8);
    const simulated = (name: string) =>
      cellOf(pair(name), meetInVirtualTime(pair(name), { runs: 3, delayMs: 20, skewMs: 300 }, ignore));
    expect(simulated('ei/apd × ei/apd')).toMatchObject({ good: 3, techniques: { 'simultaneous probes': 3 } });
    expect(simulated('ei/apd+accept × ei/apd+accept')).toMatchObject({ good: 3 });
    expect(simulated('apd/apd-random × cgnat-random')).toMatchObject({ good: 3, techniques: {} });
  });
});

const support = await labSupport();

// `npm run matrix` goes through all of them.
describe.skipIf(!support.ok)('special NATs, by the real commands', () => {
  it.concurrent.each(['ei/apd+rst × ei/apd+accept', 'apd/apd-sequential+busy × ei/apd'])(
    '%s',
    async (name) => {
      const [run] = await meetOverKernel(pair(name), { runs: 1, delayMs: 10 }, ignore);
      expect(run).toMatchObject({ shortfall: undefined, confirmedMs: expect.any(Number) as number });
    },
  );
});
