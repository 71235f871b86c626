import { describe, expect, it } from 'vitest';
import { ProbeBudget } from '../../../src/core/punch/probe-budget.ts';

function taken(budget: ProbeBudget, address: string, tries: number, now: number): number {
  return Array.from({ length: tries }, () => budget.take(address, now)).filter(Boolean).length;
}

describe('what may be sent to addresses that only peers named', () => {
  it('is forty probes at once to one address, and forty more in a minute', () => {
    const budget = new ProbeBudget();
    expect(taken(budget, '192.0.2.1', 100, 0)).toBe(40);
    expect(taken(budget, '192.0.2.1', 100, 30_000)).toBe(20);
    expect(taken(budget, '192.0.2.2', 1, 30_000)).toBe(1);
  });

  it('is two hundred at once to all of them, and fifty a second', () => {
    const budget = new ProbeBudget();
    const crowd = (now: number) =>
      Array.from({ length: 400 }, (_, n) => taken(budget, `198.51.100.${n % 256}`, 1, now)).reduce(
        (a, b) => a + b,
      );
    expect(crowd(0)).toBe(200);
    expect(crowd(1_000)).toBe(50);
  });

  it('counts no address at which the peer has answered', () => {
    const budget = new ProbeBudget();
    taken(budget, '192.0.2.1', 40, 0);
    expect(budget.take('192.0.2.1', 0)).toBe(false);
    budget.forgive('192.0.2.1');
    expect(budget.take('192.0.2.1', 0)).toBe(true);
  });
});
