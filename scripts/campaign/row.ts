import { loadavg } from 'node:os';

/** One line of the acceptance table: a figure that was asked for, and what was reached. */
export interface Figures {
  readonly row: string;
  readonly asked: string;
  readonly reached: string;
  readonly ok: boolean;
  readonly [detail: string]: unknown;
}

export interface Row extends Figures {
  /** The machine's load average when the row was done: figures taken on a busy machine are worse than they need be. */
  readonly load: number;
}

export interface ExerciseOptions {
  readonly runs: number;
  /** Of a transfer, each way. */
  readonly bytes: number;
  /** How long nothing is said where a NAT may forget. */
  readonly idleSeconds: number;
  readonly report: (figures: Figures) => void;
  /** What happens meanwhile, for whoever watches. */
  readonly say: (words: string) => void;
}

/** Fills one or more rows of the table in one laboratory. */
export interface Exercise {
  readonly name: string;
  /** Of one run with everything as long and as large as it is by default. @default unknown */
  readonly estimatedSeconds?: number;
  run(options: ExerciseOptions): Promise<void>;
}

export function currentLoad(): number {
  return Math.round(10 * loadavg()[0]!) / 10;
}

export function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** How often each value occurs. */
export function tally(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
