import { dependsOnDestination, natOf, type NatName } from '../../test/netns/nats.ts';
import { Scenario, type Meeting } from '../../test/netns/scenario.ts';
import { HEAVY_LOSS_PERCENT, shortfallOf, shortfallUnderLoss } from '../../test/netns/verdict.ts';
import { failedRun, type Run } from './cell.ts';
import type { Pair } from './pairs.ts';

export interface KernelConditions {
  readonly runs: number;
  /** One way of each access link. */
  readonly delayMs: number;
  readonly lossPercent?: number | undefined;
  /** Most that the called end errs in the rendezvous's clock: run by run, from so much behind to so much ahead. */
  readonly skewMs?: number | undefined;
  /** How far the called end's time of day is ahead. */
  readonly clockOffsetMs?: number | undefined;
}

/**
 * Meets by the real commands over real NATs, in one laboratory; each time the one that calls is a new peer, and where
 * floods may be needed, the one that is called too: what is learned or capped per peer must not colour the next run.
 */
export async function meetOverKernel(
  { a, b, paths, best }: Pair,
  { runs, delayMs, lossPercent, skewMs = 0, clockOffsetMs }: KernelConditions,
  onRun: (run: Run, number: number) => void,
): Promise<Run[]> {
  const done: Run[] = [];
  const add = (run: Run) => onRun(run, done.push(run));
  const lossy = best === 'direct' && (lossPercent ?? 0) >= HEAVY_LOSS_PERCENT;
  const hasSteppingClock = skewMs > 0;
  const scenario = await Scenario.start({
    a,
    b,
    paths,
    delayMs,
    lossPercent,
    clockOffsetMs,
    hasSteppingClock,
  });
  try {
    while (done.length < runs) {
      try {
        if (done.length > 0 && (hasSteppingClock || mayFlood(a, b))) await scenario.restartUp();
        if (hasSteppingClock) await scenario.stepClock(skewOf(done.length, runs, skewMs));
        const meeting = await scenario.meet({ lingerMs: 0, prove: !lossy });
        add(lossy ? lossyRunOf(meeting) : runOf(meeting, best));
      } catch (thrown) {
        add(failedRun((thrown as Error).message));
      }
    }
  } finally {
    await scenario.close();
  }
  return done;
}

/** Evenly from `-most` to `most`. */
function skewOf(run: number, runs: number, most: number): number {
  return runs === 1 ? most : Math.round(most * ((2 * run) / (runs - 1) - 1));
}

/** Where a mapping depends on the destination, its port has to be searched for, which is capped. */
function mayFlood(...names: NatName[]): boolean {
  return names.some((name) => dependsOnDestination(natOf(name)));
}

/** Its time is until both ends sent directly. */
function lossyRunOf(meeting: Meeting): Run {
  const { confirmedBy, bothDirectMs, packets, reason } = meeting;
  const shortfall = shortfallUnderLoss(meeting);
  const isDirect = shortfall === undefined;
  return {
    shortfall,
    technique: isDirect ? confirmedBy : undefined,
    confirmedMs: isDirect ? bothDirectMs : undefined,
    packets: Math.max(...packets),
    reason,
  };
}

function runOf(meeting: Meeting, best: Pair['best']): Run {
  const { direct, confirmedBy, confirmedMs, packets, reason } = meeting;
  // Better than thought possible is no shortfall.
  const hopeless = best === 'relay' && !direct;
  const sprayed =
    hopeless && Math.max(...packets) > FEW_PACKETS ? `${packets.join(' and ')} packets in vain` : undefined;
  const shortfall = shortfallOf(meeting, best === 'relay' && direct ? 'direct' : best) ?? sprayed;
  return {
    shortfall,
    technique: direct ? (confirmedBy ?? meeting.technique) : undefined,
    confirmedMs: direct ? confirmedMs : undefined,
    packets: Math.max(...packets),
    reason,
  };
}

/** To local addresses, and primers: nobody sprays where it is hopeless. */
const FEW_PACKETS = 64;
