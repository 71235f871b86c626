import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandEvent } from '../../e2e/commands.ts';
import { longestStall } from '../exchange.ts';
import type { Lab } from '../lab.ts';
import { transferring, type SurvivalReport } from './stage.ts';

export interface AgingReport extends SurvivalReport {
  /** When A's session fell from a direct path to the relay, in milliseconds since the first direct path. */
  readonly fellAt: readonly number[];
  /** How often it went from one direct path to another one. */
  readonly replaced: number;
}

const LOOK_EVERY_MS = 250;
/** Of both ends' programs, bytes per second: there is always something under way. */
const PACE = 64 * 1024;
const BYTES = 16 * 1024 * 1024;
/** Two losses have been noticed by then, and the paths after them made. */
const LEARNT_AFTER_LIVES = 3;

/** A's NAT ends every UDP mapping at the same age, whatever it carries; a transfer goes on for so many of those lives. */
export async function grow({ ageMs, lives }: { ageMs: number; lives: number }): Promise<AgingReport> {
  const nats = { a: 'apd/apd-random', b: 'ei/ei', paths: 'udp,relay' } as const;
  return transferring(nats, BYTES, async (transfer) => {
    const aging = new AgingMappings(transfer.scenario.lab, ageMs);
    transfer.pace(PACE);
    await transfer.until(() => transfer.isDirect(true), 20_000, 'a direct path to begin with');
    const began = Date.now();
    await sleep(ageMs * lives);
    const moves = transfer.told[0]!.filter(isActive);
    await aging.stop();
    transfer.pace(0);
    const finished = await transfer.finish();
    const isFall = (move: CommandEvent, index: number) =>
      move['direct'] === false && moves[index - 1]?.['direct'] === true;
    const isReplaced = (move: CommandEvent, index: number) =>
      move['direct'] === true && moves[index - 1]?.['direct'] === true;
    const first = moves.find((move) => move['direct'] === true)!;
    return {
      equal: finished.equal,
      stallMs: longestStall(finished, began + LEARNT_AFTER_LIVES * ageMs, began + lives * ageMs),
      seconds: finished.seconds,
      fellAt: moves.filter(isFall).map(({ ms }) => ms - first.ms),
      replaced: moves.filter(isReplaced).length,
    };
  });
}

function isActive({ event, state }: CommandEvent): boolean {
  return event === 'path' && state === 'active';
}

/** Has A's NAT forget each UDP mapping when it has reached its age. */
class AgingMappings {
  readonly #lab: Lab;
  readonly #ageMs: number;
  readonly #seenAt = new Map<string, number>();
  readonly #running: Promise<void>;
  #stopped = false;

  constructor(lab: Lab, ageMs: number) {
    this.#lab = lab;
    this.#ageMs = ageMs;
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#look();
      await sleep(LOOK_EVERY_MS);
    }
  }

  async #look(): Promise<void> {
    const flows = await this.#lab.natFlows('a');
    for (const flow of flows.filter(({ protocol }) => protocol === 'udp')) {
      // Its public port tells a mapping from the one that was there before.
      const { sourcePort, destination, destinationPort } = flow.original;
      const key = [sourcePort, destination, destinationPort, flow.reply.destinationPort].join(' ');
      const seenAt = this.#seenAt.get(key) ?? Date.now();
      this.#seenAt.set(key, seenAt);
      if (Date.now() - seenAt < this.#ageMs) continue;
      this.#seenAt.delete(key);
      await this.#lab.forgetFlow('a', flow);
    }
  }
}
