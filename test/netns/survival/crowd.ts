import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { longestStall } from '../exchange.ts';
import type { LabHost } from '../lab.ts';
import { transferring, underWay, type SurvivalReport } from './stage.ts';

interface Counts {
  readonly open: number;
  readonly served: number;
  readonly failed: number;
}

const TRIES = 10;
const program = fileURLToPath(new URL('../programs/crowd.mjs', import.meta.url));

/** Many connections to an echo server, from a program on a host of the lab. */
class Crowd {
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  constructor(host: LabHost, address: string) {
    this.#child = host.spawn(process.execPath, [program, address]);
    this.#child.stdin!.on('error', () => {});
    this.#lines = createInterface({ input: this.#child.stdout! });
  }

  open(count: number): void {
    this.#child.stdin!.write(`open ${count}\n`);
  }

  /** Closes all of them. */
  close(): void {
    this.#child.stdin!.write('close\n');
  }

  /** So many are opened, again and again until all are served or some time has passed; resolves with how many were at last. */
  async tried(count: number): Promise<number> {
    for (let left = TRIES; ; left--) {
      this.open(count);
      await sleep(1_000);
      const { served } = await this.counts();
      if (served === count || left === 0) return served;
      this.close();
      await sleep(1_000);
    }
  }

  async counts(): Promise<Counts> {
    const line = once(this.#lines, 'line');
    this.#child.stdin!.write('ask\n');
    return JSON.parse(String((await line)[0])) as Counts;
  }
}

export interface CrowdReport extends SurvivalReport {
  /** Of the crowd, while there were too few files. */
  readonly servedAtOnce: number;
  /** Of those that came when the crowd had gone. */
  readonly servedAfter: number;
}

const CROWD = 200;
const AFTERWARDS = 20;
/** Enough for a peer and a few dozen connections. */
const FILES = 96;

/** More connections come than one peer has files for, beside a transfer. */
export async function crowd(host: 'a' | 'b', bytes: number): Promise<CrowdReport> {
  const scenario = { limits: { files: { host, most: FILES } }, forwards: ['8083:echo'] };
  return transferring(scenario, bytes, async (transfer) => {
    await underWay(transfer, 'direct');
    const at = Date.now();
    const counts = await transfer.during(async () => {
      const { listen } = await transfer.connect.event('forward', ({ target }) => target === 'echo');
      const people = new Crowd(transfer.scenario.lab.hosts.a, String(listen));
      people.open(CROWD);
      await sleep(3_000);
      const { served } = await people.counts();
      people.close();
      const servedAfter = await people.tried(AFTERWARDS);
      people.close();
      return { servedAtOnce: served, servedAfter };
    });
    const finished = await transfer.finish();
    const stallMs = longestStall(finished, at);
    return { equal: finished.equal, stallMs, seconds: finished.seconds, ...counts };
  });
}
