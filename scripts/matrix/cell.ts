import { median, tally } from '../campaign/row.ts';
import type { Pair } from './pairs.ts';

/** One meeting of a pair. */
export interface Run {
  /** Why it is not as good as the pair allows; `undefined` where it is. */
  readonly shortfall: string | undefined;
  readonly technique: string | undefined;
  /** From the offer until both ends had confirmed a direct way. */
  readonly confirmedMs: number | undefined;
  /** Of the end that sent more. */
  readonly packets: number;
  /** Why it is relayed, where it is. */
  readonly reason: string | undefined;
}

/** A meeting that came to nothing. */
export function failedRun(words: string): Run {
  return { shortfall: words, technique: undefined, confirmedMs: undefined, packets: 0, reason: undefined };
}

/** All meetings of a pair: one cell of the table. */
export interface Cell {
  readonly pair: string;
  readonly a: string;
  readonly b: string;
  readonly best: Pair['best'];
  readonly runs: number;
  readonly good: number;
  readonly techniques: Record<string, number>;
  readonly medianMs: number | null;
  readonly p90Ms: number | null;
  readonly mostMs: number | null;
  /** Median. */
  readonly packets: number;
  readonly reasons: readonly string[];
  readonly shortfalls: readonly string[];
}

export function cellOf({ name, a, b, best }: Pair, runs: readonly Run[]): Cell {
  const times = runs.flatMap(({ confirmedMs }) => confirmedMs ?? []).toSorted((x, y) => x - y);
  const at = (share: number) => times[Math.ceil(share * times.length) - 1] ?? null;
  const shortfalls = runs.flatMap(({ shortfall }) => shortfall ?? []);
  return {
    pair: name,
    a,
    b,
    best,
    runs: runs.length,
    good: runs.length - shortfalls.length,
    techniques: tally(runs.flatMap(({ technique }) => technique ?? [])),
    medianMs: at(0.5),
    p90Ms: at(0.9),
    mostMs: at(1),
    packets: runs.length > 0 ? median(runs.map(({ packets }) => packets)) : 0,
    reasons: Object.keys(tally(runs.flatMap(({ reason }) => reason ?? []))),
    shortfalls,
  };
}

/** The technique that most runs went by. */
export function usualTechnique({ techniques }: Cell): string | undefined {
  return Object.entries(techniques).toSorted(([, x], [, y]) => y - x)[0]?.[0];
}
