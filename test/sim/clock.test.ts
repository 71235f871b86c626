import { describe, expect, it } from 'vitest';
import { VirtualClock } from './clock.ts';
import { Random } from './random.ts';

describe('virtual clock', () => {
  it('runs events in order of time, and equal times in order of scheduling', () => {
    const clock = new VirtualClock();
    const random = new Random(1);
    const ran: [number, number][] = [];
    for (let order = 0; order < 1_000; order++) {
      const at = random.integer(0, 50);
      clock.at(at, () => ran.push([at, order]));
    }
    while (clock.step());
    expect(ran).toHaveLength(1_000);
    expect(ran).toEqual(ran.toSorted(([atA, a], [atB, b]) => atA - atB || a - b));
  });

  it('never runs a cancelled event, and does not count it as pending', () => {
    const clock = new VirtualClock();
    let ran = false;
    clock.after(5, () => (ran = true)).cancel();
    expect(clock.next).toBeUndefined();
    expect(clock.step()).toBe(false);
    expect(ran).toBe(false);
  });

  it('runs what is scheduled for the past at once, without turning back', () => {
    const clock = new VirtualClock();
    const times: number[] = [];
    clock.at(10, () => clock.at(3, () => times.push(clock.now)));
    while (clock.step());
    expect(times).toEqual([10]);
  });
});

describe('seeded randomness', () => {
  it('repeats for a seed, differs between seeds and between forks', () => {
    const draws = (random: Random): number[] => Array.from({ length: 5 }, () => random.next());
    expect(draws(new Random(7))).toEqual(draws(new Random(7)));
    expect(draws(new Random(7))).not.toEqual(draws(new Random(8)));
    expect(draws(new Random(7).fork('x'))).not.toEqual(draws(new Random(7).fork('y')));
  });

  it('is uniform, and its Poisson draws have the mean asked for', () => {
    const random = new Random(3);
    const mean = (draw: () => number): number =>
      Array.from({ length: 20_000 }, draw).reduce((sum, value) => sum + value, 0) / 20_000;
    expect(mean(() => random.next())).toBeCloseTo(0.5, 1);
    expect(mean(() => random.integer(1, 6))).toBeCloseTo(3.5, 0.9);
    expect(mean(() => random.poisson(2))).toBeCloseTo(2, 1);
    expect(Math.round(mean(() => random.poisson(100)))).toBe(100);
  });
});
