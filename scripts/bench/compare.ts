import { Apart } from './apart.ts';
import type { Comparison, Rival } from './comparisons.ts';
import {
  measure,
  type Contender,
  type Exercise,
  type Measurement,
  type Place,
  type Role,
} from './contender.ts';

export interface Settings {
  /** For each bulk measurement, a multiple of 4 MiB. */
  readonly bytes: number;
  readonly rounds: number;
}

export interface Outcome {
  readonly name: string;
  readonly about: string;
  readonly unit: Unit;
  readonly ours: Figures;
  readonly theirs: readonly RivalFigures[];
}

type Unit = 'Gbit/s' | 'ms' | 'µs';

export interface Figures {
  readonly name: string;
  readonly median: number;
  readonly rounds: readonly number[];
  /** What 99 of 100 stayed below, over the median, in the median round. */
  readonly tail?: number;
  /** Of each process: seconds of processor per GiB, or milliseconds per connection or round trip. */
  readonly processor: Readonly<Partial<Record<Role, number>>>;
}

export interface RivalFigures extends Figures {
  /** Our speed over theirs: the median over the rounds, in each of which all run one after another. */
  readonly ratio: number;
  readonly target: number | undefined;
  /** Our middle's processor time over theirs, and how much it may be. */
  readonly middle?: { readonly ratio: number; readonly atMost: number } | undefined;
}

/** Everybody runs once a round, so that whatever else the machine does meets all alike. */
export async function compare(comparison: Comparison, settings: Settings): Promise<Outcome> {
  const apart = comparison.apart === true ? await Apart.open() : undefined;
  try {
    return await compareAt(apart?.place, comparison, settings);
  } finally {
    await apart?.close();
  }
}

async function compareAt(
  place: Place | undefined,
  comparison: Comparison,
  settings: Settings,
): Promise<Outcome> {
  const { name, about, ours, theirs } = comparison;
  const contenders = [ours, ...theirs.map(({ contender }) => contender)];
  const exercise = exerciseOf(comparison, settings);
  const measured = new Map<Contender, Measurement[]>(contenders.map((each) => [each, []]));
  for (let round = 0; round < settings.rounds; round += 1) {
    for (const each of contenders) {
      if (each === ours) measured.get(each)!.push(await measure(each, exercise, place));
      else await tryRival(each, measured, () => measure(each, exercise, place));
    }
  }
  return {
    name,
    about,
    unit: UNITS[comparison.exercise],
    ours: figures(ours, measured.get(ours)!, exercise),
    theirs: theirs
      .filter(({ contender }) => measured.has(contender))
      .map((rival) => against(rival, measured.get(ours)!, measured.get(rival.contender)!, exercise)),
  };
}

/** A rival that gives no result is left out from then on, and the others go on. */
async function tryRival(
  rival: Contender,
  measured: Map<Contender, Measurement[]>,
  once: () => Promise<Measurement>,
): Promise<void> {
  for (let tries = 0; tries < RIVAL_TRIES && measured.has(rival); tries += 1) {
    try {
      return void measured.get(rival)!.push(await once());
    } catch (error) {
      process.stderr.write(`${(error as Error).message}\n`);
    }
  }
  measured.delete(rival);
}

function exerciseOf({ exercise, connections = CONNECTIONS }: Comparison, { bytes }: Settings): Exercise {
  switch (exercise) {
    case 'bulk':
      return { exercise, parameters: { bytes, warmUpSeconds: WARM_UP_SECONDS } };
    case 'ping':
      return { exercise, parameters: { times: ROUND_TRIPS, warmUpSeconds: WARM_UP_SECONDS } };
    case 'connect':
      return { exercise, parameters: { times: connections } };
  }
}

function against(
  { contender, target, middle }: Rival,
  ours: readonly Measurement[],
  theirs: readonly Measurement[],
  exercise: Exercise,
): RivalFigures {
  const ratios = theirs.map(({ seconds }, round) => seconds / ours[round]!.seconds);
  const spent = (measured: Measurement): number => measured.processor.middle ?? 0;
  const middles = theirs.map((each, round) => spent(ours[round]!) / spent(each));
  return {
    ...figures(contender, theirs, exercise),
    ratio: rounded(median(ratios)),
    target,
    middle: middle === undefined ? undefined : { ratio: rounded(median(middles)), atMost: middle },
  };
}

function figures({ name }: Contender, measured: readonly Measurement[], exercise: Exercise): Figures {
  const rounds = measured.map(({ seconds }) => inUnit(seconds, exercise));
  const roles = Object.keys(measured[0]!.processor) as Role[];
  const processor = roles.map((role) => {
    return [
      role,
      rounded(perPiece(median(measured.map((each) => each.processor[role]!)), exercise)),
    ] as const;
  });
  const tails = measured.map(({ seconds, tail = 0 }) => tail / seconds);
  const tail = exercise.exercise === 'ping' ? { tail: rounded(median(tails)) } : {};
  return { name, median: median(rounds), rounds, ...tail, processor: Object.fromEntries(processor) };
}

function inUnit(seconds: number, { exercise, parameters }: Exercise): number {
  if (exercise === 'bulk') return rounded((parameters.bytes * 8) / 1e9 / seconds);
  return rounded(exercise === 'connect' ? seconds * 1e3 : seconds * 1e6);
}

function perPiece(seconds: number, { exercise, parameters }: Exercise): number {
  return exercise === 'bulk' ? (seconds * GIB) / parameters.bytes : (seconds * 1000) / parameters.times;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
}

export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

const GIB = 1024 ** 3;
/** hyperdht's connection through its relay stalls now and then. */
const RIVAL_TRIES = 2;
/** Until V8 has compiled what is hot: with two busy processes on two processors that takes some seconds. */
const WARM_UP_SECONDS = 5;
/** In one round; with the one that isn't counted, as many as a rendezvous takes of a pair at once. */
const CONNECTIONS = 4;
const ROUND_TRIPS = 20_000;
const UNITS: Readonly<Record<Exercise['exercise'], Unit>> = { bulk: 'Gbit/s', connect: 'ms', ping: 'µs' };
