import { EXCHANGE_SERVICE, LiveTransfer, longestStall } from './exchange.ts';
import type { NatName } from './lab.ts';
import { Scenario } from './scenario.ts';

export interface TransferOptions {
  readonly a: NatName;
  readonly b: NatName;
  readonly delayMs: number;
  /** Each way. */
  readonly bytes: number;
  /** How long a change of path may take. */
  readonly patienceMs?: number;
}

type Change = 'direct allowed' | 'direct cut';

/** What a change at the NATs did to a transfer. */
interface PathChange {
  readonly change: Change;
  /** Until both ends sent on a path of the other class. */
  readonly movedAfterMs: number;
  /** The longest time in which one end received nothing, between this change and the next one. */
  readonly stallMs: number;
  readonly kinds: readonly string[];
}

export interface TransferReport {
  readonly bytes: number;
  readonly seconds: number;
  /** Both ends have hashed the same bytes, both ways. */
  readonly equal: boolean;
  readonly changes: readonly PathChange[];
}

/**
 * The same number of bytes both ways through `-L`, while the path goes relay → direct → relay → direct: at a quarter,
 * a half and three quarters of the way the NATs let direct packets through, drop them, and let them through again.
 */
export async function transferAcrossPaths(options: TransferOptions): Promise<TransferReport> {
  const { a, b, delayMs, bytes, patienceMs = 60_000 } = options;
  const scenario = await Scenario.start({ a, b, delayMs, relay: 'separate', expose: [EXCHANGE_SERVICE] });
  try {
    await scenario.lab.cut('direct');
    const transfer = await LiveTransfer.begin(scenario, bytes);
    const marks: Awaited<ReturnType<typeof changed>>[] = [];
    for (const [share, change] of COURSE) {
      await transfer.reached(share);
      marks.push(await transfer.during(() => changed(transfer, change, patienceMs)));
    }
    const finished = await transfer.finish();
    const changes = marks.map(({ at, ...change }, index) => ({
      ...change,
      stallMs: longestStall(finished, at, marks[index + 1]?.at),
    }));
    return { bytes, seconds: finished.seconds, equal: finished.equal, changes };
  } finally {
    await scenario.close();
  }
}

const COURSE: readonly (readonly [share: number, change: Change])[] = [
  [0.25, 'direct allowed'],
  [0.5, 'direct cut'],
  [0.75, 'direct allowed'],
];

/** Changes what the NATs do, and waits until both ends have followed. */
async function changed(transfer: LiveTransfer, change: Change, patienceMs: number) {
  const { lab } = transfer.scenario;
  const at = Date.now();
  const direct = change === 'direct allowed';
  await (direct ? lab.restore('direct') : lab.cut('direct'));
  await transfer.until(() => transfer.isDirect(direct), patienceMs, `a path after: ${change}`);
  const kinds = transfer.active.map((path) => String(path?.['kind']));
  return { at, change, movedAfterMs: Date.now() - at, kinds };
}
