import { setTimeout as sleep } from 'node:timers/promises';
import { Scenario } from '../scenario.ts';
import { isDirect, NATS, transferring, underWay, until } from './stage.ts';

export interface SilenceReport {
  /** Until both ends had left the path that fell silent. */
  readonly noticedMs: number;
  /** Everything that was sent came back in the end. */
  readonly equal: boolean;
}

/** What the direct path carries is dropped without a word, with data in flight. */
export async function fallSilentBusy(bytes: number): Promise<SilenceReport> {
  return transferring({}, bytes, async (transfer) => {
    await underWay(transfer, 'direct');
    const noticedMs = await transfer.during(async () => {
      await transfer.scenario.lab.cut('direct');
      const began = performance.now();
      await transfer.until(() => transfer.isDirect(false), 60_000, 'the silence to be noticed');
      return performance.now() - began;
    });
    const { equal } = await transfer.finish();
    return { noticedMs: Math.round(noticedMs), equal };
  });
}

/** The same where nobody says anything. */
export async function fallSilentIdle(): Promise<SilenceReport> {
  const scenario = await Scenario.start(NATS);
  try {
    const connect = scenario.connect('-W', 'echo');
    connect.child.stdin!.write('x');
    const ends = [connect, scenario.up];
    await until(() => ends.every((end) => isDirect(end)), 30_000, 'a direct path');
    await sleep(3_000);
    await scenario.lab.cut('direct');
    const began = performance.now();
    await until(() => ends.every((end) => !isDirect(end)), 60_000, 'the silence to be noticed');
    const noticedMs = Math.round(performance.now() - began);
    connect.child.stdin!.end('y');
    const { stdout } = await connect.ended;
    return { noticedMs, equal: stdout.toString() === 'xy' };
  } finally {
    await scenario.close();
  }
}
