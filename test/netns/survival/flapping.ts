import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandEvent } from '../../e2e/commands.ts';
import { longestStall } from '../exchange.ts';
import { transferring, underWay, type SurvivalOptions, type SurvivalReport } from './stage.ts';

export interface FlappingReport extends SurvivalReport {
  readonly upgrades: number;
  /** The shortest time between two moves from the relay to a direct path at one end; `Infinity` where there was one at most. */
  readonly leastBetweenUpgradesMs: number;
}

const FLAP_MS = 2_000;

/** The direct path is cut and restored every two seconds, for so long. */
export async function flap({ bytes, seconds = 24 }: SurvivalOptions): Promise<FlappingReport> {
  return transferring({}, bytes, async (transfer) => {
    const { lab } = transfer.scenario;
    await underWay(transfer, 'direct');
    const at = Date.now();
    const before = transfer.told.map((events) => events.length);
    await transfer.during(async () => {
      for (const until = Date.now() + seconds * 1000; Date.now() < until;) {
        await lab.cut('direct');
        await sleep(FLAP_MS);
        await lab.restore('direct');
        await sleep(FLAP_MS);
      }
    });
    const upgrades = transfer.told.map((events, end) => upgradesIn(events.slice(before[end])));
    const finished = await transfer.finish();
    const between = upgrades.flatMap((times) => times.slice(1).map((time, index) => time - times[index]!));
    return {
      equal: finished.equal,
      stallMs: longestStall(finished, at),
      seconds: finished.seconds,
      upgrades: Math.max(...upgrades.map((times) => times.length)),
      leastBetweenUpgradesMs: Math.min(Infinity, ...between),
    };
  });
}

/** When an end moved from the relay to a direct path. */
function upgradesIn(events: readonly CommandEvent[]): number[] {
  const moves = events.filter(({ event, state }) => event === 'path' && state === 'active');
  return moves
    .filter(({ direct }, index) => direct && moves[index - 1]?.['direct'] === false)
    .map(({ ms }) => ms);
}
