import type { Discovered } from '../../test/netns/discovery/discover.ts';
import { discoverFrom, serveStun } from '../../test/netns/discovery/programs.ts';
import { truthOf } from '../../test/netns/discovery/truth.ts';
import { Lab } from '../../test/netns/lab.ts';
import { isShared, natOf, type NatName } from '../../test/netns/nats.ts';
import { median, tally } from '../campaign/row.ts';
import { judge } from './shortfall.ts';

export interface Conditions {
  readonly runs: number;
  /** One way of the access link. */
  readonly delayMs: number;
  /** Of the access link, each direction. */
  readonly lossPercent: number;
}

/** What became of one NAT's diagnoses under one loss. */
export interface DiagnosisRow {
  readonly nat: NatName;
  readonly lossPercent: number;
  readonly runs: number;
  /** Diagnoses with a wrong verdict, and with one that is missing; what they were, and how often. */
  readonly wrong: number;
  readonly unknown: number;
  readonly wrongs: Record<string, number>;
  readonly unknowns: Record<string, number>;
  /** From the start until both transports' diagnoses were complete and a plan can be made. */
  readonly planMs: Times;
  readonly allowedMs: number;
  /** Nothing wrong, nothing unknown without loss, and the median of the times as asked. */
  readonly ok: boolean;
}

interface Times {
  readonly median: number;
  readonly p90: number;
  readonly most: number;
}

/**
 * Two hosts, each behind such a NAT, measure side by side, half of the runs each; one alone where both stand behind the
 * same one, which gives the second another port where both use one port, and so is what it is only to the first. What
 * a server does for one network is limited: after some runs it is a new one.
 */
export async function diagnose(nat: NatName, conditions: Conditions): Promise<DiagnosisRow> {
  const { runs, delayMs, lossPercent } = conditions;
  const lab = await Lab.create({ a: nat, b: nat, delayMs, lossPercent });
  try {
    const sides = isShared(natOf(nat)) ? (['a'] as const) : (['a', 'b'] as const);
    const found: Discovered[] = [];
    while (found.length < runs) {
      const each = Math.min(RUNS_OF_ONE_SERVER, Math.ceil((runs - found.length) / sides.length));
      const stopServing = await serveStun(lab);
      const these = await Promise.all(sides.map((side) => discoverFrom(lab, side, each)));
      await stopServing();
      found.push(...these.flat());
    }
    return rowOf(nat, lossPercent, found);
  } finally {
    await lab.close();
  }
}

/** Of each host: ten dials a run, of which 240 are at hand for one network and two come back a second. */
const RUNS_OF_ONE_SERVER = 13;

function rowOf(nat: NatName, lossPercent: number, found: readonly Discovered[]): DiagnosisRow {
  const judged = found.map((each) => judge(nat, each));
  const times = found.map(({ completeMs }) => Math.max(completeMs.udp, completeMs.tcp));
  const ordered = times.toSorted((x, y) => x - y);
  const planMs = {
    median: median(times),
    p90: ordered[Math.ceil(0.9 * ordered.length) - 1]!,
    most: ordered.at(-1)!,
  };
  const [wrong, unknown] = (['wrong', 'unknown'] as const).map(
    (what) => judged.filter((each) => each[what].length > 0).length,
  ) as [number, number];
  const allowedMs = allowedFor(nat);
  const isInTime = lossPercent > 0 || planMs.median <= allowedMs;
  return {
    nat,
    lossPercent,
    runs: found.length,
    wrong,
    unknown,
    wrongs: tally(judged.flatMap((each) => each.wrong)),
    unknowns: tally(judged.flatMap((each) => each.unknown)),
    planMs,
    allowedMs,
    ok: wrong === 0 && (unknown === 0 || lossPercent > 0) && isInTime,
  };
}

/** Silence has to be waited for where something is filtered, and longest where nothing comes at all. */
function allowedFor(nat: NatName): number {
  if (!truthOf(nat, 'udp').reachable || !truthOf(nat, 'tcp').reachable) return 1_500;
  return natOf(nat).filtering === 'none' ? 500 : 800;
}
