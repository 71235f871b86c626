import { describe, expect, it } from 'vitest';
import { Rotation } from '../../../src/core/punch/rotation.ts';

/** Paths that come up one after the other, in virtual time. */
class Paths {
  readonly machine = new Rotation();
  now = 1_000;
  #last = 0;

  up(): number {
    this.machine.handle({ type: 'up', path: ++this.#last }, this.now);
    return this.#last;
  }

  /** True where the newest path is to be replaced within that time, which then ends there. */
  rotatesWithin(ms: number): boolean {
    const until = this.now + ms;
    const { deadline } = this.machine;
    this.now = Math.min(until, deadline ?? until);
    this.machine.handleTimeout(this.now);
    return this.machine.poll() !== undefined;
  }

  /** A path that comes up and is lost at that age; `false` where it is to be replaced before. */
  lives(ms: number): boolean {
    const path = this.up();
    if (this.rotatesWithin(ms)) return false;
    this.machine.handle({ type: 'down', path }, this.now);
    this.now += 200;
    return true;
  }
}

describe('rotation of direct paths by UDP', () => {
  it('makes another path before the age at which two in a row were lost', () => {
    const paths = new Paths();
    expect([30_000, 31_000, 30_500].map((age) => paths.lives(age))).toEqual([true, true, false]);
  });

  it('does so at four fifths of that age, and again for the path that took over', () => {
    const paths = new Paths();
    for (const age of [31_000, 30_000]) paths.lives(age);
    for (let round = 0; round < 5; round++) {
      const since = paths.now;
      paths.up();
      expect(paths.rotatesWithin(60_000)).toBe(true);
      expect(paths.now - since).toBe(24_000);
      paths.now += 100;
    }
  });

  it('goes on with the older of two where the newer is lost at once', () => {
    const paths = new Paths();
    for (const age of [30_000, 30_000]) paths.lives(age);
    paths.up();
    const since = paths.now;
    paths.now += 500;
    expect(paths.lives(300)).toBe(true);
    expect(paths.rotatesWithin(60_000)).toBe(true);
    expect(paths.now - since).toBe(24_000);
  });

  it.each([
    ['ages that differ', [30_000, 20_000, 30_000, 40_000]],
    ['paths that die young', [3_000, 3_000, 3_000, 3_000]],
    ['one loss', [30_000, 300_000]],
  ])('leaves paths alone after %s', (_what, ages) => {
    const paths = new Paths();
    expect(ages.every((age) => paths.lives(age))).toBe(true);
  });

  it('isn’t misled by an end that comes sooner', () => {
    const paths = new Paths();
    for (const age of [30_000, 30_000, 4_000]) paths.lives(age);
    expect(paths.lives(30_000)).toBe(false);
  });

  it('asks once for each path, and forgets an age that a path outlives', () => {
    const paths = new Paths();
    for (const age of [30_000, 30_000]) paths.lives(age);
    const path = paths.up();
    expect(paths.rotatesWithin(30_000)).toBe(true);
    expect(paths.rotatesWithin(600_000)).toBe(false);
    paths.machine.handle({ type: 'down', path }, paths.now);
    expect(paths.lives(600_000)).toBe(true);
  });

  it('now and then leaves a path to itself, which shows whether the age still holds', () => {
    const paths = new Paths();
    for (const age of [30_000, 30_000]) paths.lives(age);
    let replaced = 0;
    for (paths.up(); paths.rotatesWithin(600_000); paths.up()) replaced++;
    expect(replaced).toBe(16);
  });

  it('takes no notice of the end of a path that was left', () => {
    const paths = new Paths();
    const [left, taken] = [paths.up(), paths.up()];
    paths.now += 30_000;
    paths.machine.handle({ type: 'down', path: left }, paths.now);
    paths.machine.handle({ type: 'down', path: taken }, paths.now);
    paths.lives(20_000);
    expect(paths.lives(20_000)).toBe(true);
    expect(paths.lives(20_000)).toBe(false);
  });
});
