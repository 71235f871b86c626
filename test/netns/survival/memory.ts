import { readFileSync } from 'node:fs';
import { longestStall } from '../exchange.ts';
import { transferring, type SurvivalReport } from './stage.ts';

export interface MemoryReport extends SurvivalReport {
  /** The most that each peer held in memory, MiB. */
  readonly peakMiB: readonly number[];
}

/** All commands with a small heap. */
export async function passInLittleMemory(
  on: 'direct' | 'relay',
  heapMiB: number,
  bytes: number,
): Promise<MemoryReport> {
  const paths = on === 'relay' ? 'relay' : 'udp,tcp,relay';
  return transferring({ paths, limits: { heapMiB } }, bytes, async (transfer) => {
    await transfer.reached(0.95);
    const peakMiB = [transfer.connect, transfer.scenario.up].map(({ child }) => peakOf(child.pid!));
    const finished = await transfer.finish();
    const stallMs = longestStall(finished, 0);
    return { equal: finished.equal, stallMs, seconds: finished.seconds, peakMiB };
  });
}

function peakOf(pid: number): number {
  const kibibytes = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kibibytes) / 1024);
}
