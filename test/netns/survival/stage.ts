import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandEvent, RunningCommand } from '../../e2e/commands.ts';
import { EXCHANGE_SERVICE, LiveTransfer } from '../exchange.ts';
import { Scenario, type ScenarioOptions } from '../scenario.ts';

export interface SurvivalOptions {
  /** Each way. */
  readonly bytes: number;
  /** How long it lasts, where that can be chosen. */
  readonly seconds?: number;
}

export interface SurvivalReport {
  /** Both ends have hashed the same bytes, both ways. */
  readonly equal: boolean;
  /** The longest time without a byte at one end, less the time in which none could have come. */
  readonly stallMs: number;
  /** Of the whole transfer. */
  readonly seconds: number;
}

/** Where everything happens that a session has to survive. */
export const NATS = { a: 'ei/apd', b: 'ei/apd', delayMs: 5 } as const;
/** By now the transfer is well under way. */
const STRIKE_AT = 0.3;
const PATIENCE_MS = 60_000;

/** A transfer both ways in a laboratory of its own, of which nothing is left afterwards. */
export async function transferring<Report>(
  { forwards = [], ...options }: Partial<ScenarioOptions> & { forwards?: readonly string[] },
  bytes: number,
  use: (transfer: LiveTransfer) => Promise<Report>,
): Promise<Report> {
  const scenario = await Scenario.start({ ...NATS, ...options, expose: [EXCHANGE_SERVICE] });
  try {
    return await use(await LiveTransfer.begin(scenario, bytes, forwards));
  } finally {
    await scenario.close();
  }
}

/** Resolves in the middle of the transfer, with both ends on a path of this class. */
export async function underWay(transfer: LiveTransfer, on: 'direct' | 'relay'): Promise<void> {
  const words = `a path to begin with: ${on}`;
  await transfer.during(() => transfer.until(() => transfer.isDirect(on === 'direct'), PATIENCE_MS, words));
  await transfer.reached(STRIKE_AT);
}

export function isDirect({ events }: RunningCommand): boolean {
  const isActive = ({ event, state }: CommandEvent) => event === 'path' && state === 'active';
  return events.findLast(isActive)?.['direct'] === true;
}

export async function until(what: () => boolean, withinMs: number, words: string): Promise<void> {
  for (const last = performance.now() + withinMs; !what(); await sleep(20)) {
    if (performance.now() > last) throw new Error(`in vain for ${withinMs} ms: ${words}`);
  }
}
