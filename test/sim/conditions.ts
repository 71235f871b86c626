import { Random } from './random.ts';

const A_DAY_MS = 86_400_000;

/** One run's seed, how much later its second end begins (evenly up to `mostSkewMs`), and its clock, up to a day off. */
export function ofSeed(
  seed: number,
  mostSkewMs: number,
): { seed: number; skewMs: number; clockOffsetB: number } {
  const random = new Random(`conditions ${seed}`);
  return {
    seed,
    skewMs: random.integer(0, mostSkewMs),
    clockOffsetB: random.integer(-A_DAY_MS, A_DAY_MS),
  };
}
