import type { Contender, Place } from './contender.ts';
import { measureFlow, measureLatency } from './contender.ts';
import { HYPERDHT, PLAIN_TCP, ours, TLS } from './comparisons.ts';
import { EmulatedLink, type LinkProperties } from './emulated-link.ts';
import type { Latency } from './role-process.ts';

/** One link, and who sends over it. */
export interface LinkTrial extends LinkProperties {
  readonly name: string;
  readonly runners: readonly Runner[];
  /** How fast single bytes pass while the link is full, instead of how much passes. */
  readonly latency?: true;
}

interface Runner {
  readonly contender: Contender;
  /** Of the link's rate. */
  readonly share?: number;
  /** Of hyperdht's speed; either of the two is enough. */
  readonly orTimesHyperdht?: number;
}

export interface LinkOutcome extends LinkProperties {
  readonly name: string;
  readonly results: readonly LinkResult[];
}

export interface LinkResult {
  readonly name: string;
  readonly mbit?: number;
  readonly latency?: Latency;
  readonly wanted?: string;
  readonly met?: boolean;
  /** Why there is no figure. */
  readonly failure?: string;
}

const KINDS = ['tcp', 'udp', 'relay-h1', 'relay-h2', 'relay-ws'] as const;
const OTHERS = [PLAIN_TCP, TLS, HYPERDHT].map((contender) => ({ contender }));

/** The links of the figures that this project sets itself. */
export const TRIALS: readonly LinkTrial[] = [
  { name: 'far', rttMs: 100, lossPercent: 0, rateMbit: 100, runners: [...everyKind(0.85), ...OTHERS] },
  { name: 'farther', rttMs: 300, lossPercent: 0, rateMbit: 100, runners: [...everyKind(0.7), ...OTHERS] },
  { name: 'lossy', rttMs: 40, lossPercent: 1, rateMbit: 100, runners: [...lossy(0.5, 1.2), ...OTHERS] },
  { name: 'lossier', rttMs: 40, lossPercent: 5, rateMbit: 100, runners: [...lossy(0.2), ...OTHERS] },
  {
    name: 'latency',
    rttMs: 20,
    lossPercent: 0,
    rateMbit: 50,
    latency: true,
    runners: [...everyKind(), ...OTHERS],
  },
];

/** Every round trip with every loss and every rate. */
export const GRID: readonly LinkTrial[] = [50, 500].flatMap((rateMbit) =>
  [0, 20, 100, 300].flatMap((rttMs) =>
    [0, 0.1, 1, 5].map((lossPercent) => ({
      name: `${rttMs}ms-${lossPercent}%-${rateMbit}Mbit`,
      rttMs,
      lossPercent,
      rateMbit,
      runners: [...everyKind(), ...OTHERS],
    })),
  ),
);

function everyKind(share?: number): Runner[] {
  return KINDS.map((kind) => ({ contender: ours(kind), ...(share !== undefined && { share }) }));
}

/** Only the path by UDP has a figure: what TCP makes of loss is up to the kernel. */
function lossy(share: number, orTimesHyperdht?: number): Runner[] {
  const wanted = { share, ...(orTimesHyperdht !== undefined && { orTimesHyperdht }) };
  return KINDS.map((kind) => ({ contender: ours(kind), ...(kind === 'udp' && wanted) }));
}

/** One after another over the same link; the median of the rounds. Who fails has no figure, and the rest goes on. */
export async function tryLink(trial: LinkTrial, rounds: number): Promise<LinkOutcome> {
  const { name, rttMs, lossPercent, rateMbit, runners } = trial;
  const link = await EmulatedLink.open(trial);
  try {
    const measured = new Map<Runner, Measured[]>(runners.map((runner) => [runner, []]));
    for (let round = 0; round < rounds; round += 1) {
      for (const runner of runners)
        measured.get(runner)!.push(await run(runner.contender, trial, link.place));
    }
    const middles = new Map(runners.map((runner) => [runner, middle(measured.get(runner)!)]));
    const hyperdht = runners.find(({ contender }) => contender === HYPERDHT);
    const theirs = hyperdht && middles.get(hyperdht)!.mbit;
    const results = runners.map((runner) => ({
      name: runner.contender.name,
      ...middles.get(runner)!,
      ...verdict(runner, rateMbit, middles.get(runner)!.mbit, theirs),
    }));
    return { name, rttMs, lossPercent, rateMbit, results };
  } finally {
    await link.close();
  }
}

type Measured = Pick<LinkResult, 'mbit' | 'latency' | 'failure'>;

async function run(contender: Contender, { rttMs, latency }: LinkTrial, place: Place): Promise<Measured> {
  // Until windows and congestion control have found the rate: some doublings from ten packets, a round trip each.
  const parameters = { warmUpSeconds: 4 + (20 * rttMs) / 1000, seconds: SECONDS };
  try {
    if (latency) return { latency: await measureLatency(contender, parameters, place) };
    const bytes = await measureFlow(contender, parameters, place);
    return { mbit: Number(((bytes * 8) / 1e6 / SECONDS).toPrecision(3)) };
  } catch (error) {
    return { failure: ((error as Error).cause as Error | undefined)?.message ?? (error as Error).message };
  }
}

function middle(all: readonly Measured[]): Measured {
  const key = ({ mbit, latency }: Measured): number => mbit ?? latency?.median ?? 0;
  const sorted = [...all].sort((a, b) => key(a) - key(b));
  return sorted[(sorted.length - 1) >> 1]!;
}

function verdict(
  { share, orTimesHyperdht }: Runner,
  rateMbit: number,
  mbit: number | undefined,
  hyperdht: number | undefined,
): Pick<LinkResult, 'wanted' | 'met'> {
  if (share === undefined) return {};
  const wanted = `≥ ${Math.round(share * 100)} %${orTimesHyperdht === undefined ? '' : ` or ≥ ${orTimesHyperdht} × hyperdht`}`;
  const enough = (least: number): boolean => mbit !== undefined && mbit >= least;
  const beats = orTimesHyperdht !== undefined && hyperdht !== undefined && enough(orTimesHyperdht * hyperdht);
  return { wanted, met: enough(share * rateMbit) || beats };
}

const SECONDS = 5;
