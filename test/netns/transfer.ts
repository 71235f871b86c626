import { randomBytes } from 'node:crypto';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { CommandEvent, RunningCommand } from '../e2e/commands.ts';
import type { LabHost, NatName } from './lab.ts';
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

/** What a change at the NATs did to a transfer. */
interface PathChange {
  readonly change: 'direct allowed' | 'direct cut';
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

interface ExchangeLine {
  readonly ready?: boolean;
  readonly done?: boolean;
  readonly received?: number;
  readonly sent?: number;
  readonly sentSha256?: string;
  readonly receivedSha256?: string;
  readonly pauses?: readonly { endedAt: number; ms: number }[];
  readonly error?: string;
}

const PORT = 8082;
/** Slow enough that the rest lasts until the path has changed, and without pauses of its own. */
const WAITING_PACE = 256 * 1024;
const program = fileURLToPath(new URL('programs/exchange.mjs', import.meta.url));

/** One end of the transfer: a program on a host of the lab. */
class Exchange {
  readonly child: ChildProcess;
  readonly done: Promise<ExchangeLine>;
  readonly ready: Promise<void>;
  received = 0;

  constructor(host: LabHost, mode: 'listen' | 'dial', address: string, bytes: number) {
    const seed = randomBytes(8).toString('hex');
    this.child = host.spawn(process.execPath, [program, mode, address, String(bytes), seed]);
    let isReady = () => {};
    this.ready = new Promise((resolve) => (isReady = resolve));
    this.done = this.#read(mode, () => isReady());
    this.done.catch(() => {}); // whoever waits for progress is told
  }

  /** Bytes per second; 0 is as fast as it goes. */
  pace(rate: number): void {
    this.child.stdin!.write(`pace ${rate}\n`);
  }

  async #read(mode: string, isReady: () => void): Promise<ExchangeLine> {
    for await (const text of createInterface({ input: this.child.stdout! })) {
      const line = JSON.parse(text) as ExchangeLine;
      if (line.error !== undefined) throw new Error(`the ${mode}ing end: ${line.error}`);
      if (line.ready) isReady();
      this.received = line.received ?? this.received;
      if (line.done) return line;
    }
    throw new Error(`the ${mode}ing end died`);
  }
}

/**
 * The same number of bytes both ways through `-L`, while the path goes relay → direct → relay → direct: at a quarter,
 * a half and three quarters of the way the NATs let direct packets through, drop them, and let them through again.
 */
export async function transferAcrossPaths(options: TransferOptions): Promise<TransferReport> {
  const { a, b, delayMs } = options;
  const expose = [`exchange=127.0.0.1:${PORT}`];
  const scenario = await Scenario.start({ a, b, delayMs, relay: 'separate', expose });
  try {
    return await new Transfer(scenario, options).run();
  } finally {
    await scenario.close();
  }
}

class Transfer {
  readonly #scenario: Scenario;
  readonly #options: TransferOptions;
  readonly #marks: { at: number; change: PathChange['change']; movedAfterMs: number; kinds: string[] }[] = [];
  #ends!: readonly [Exchange, Exchange];
  #connect!: RunningCommand;

  constructor(scenario: Scenario, options: TransferOptions) {
    this.#scenario = scenario;
    this.#options = options;
  }

  async run(): Promise<TransferReport> {
    const { lab } = this.#scenario;
    const { bytes } = this.#options;
    await lab.cut('direct');
    const there = new Exchange(lab.hosts.b, 'listen', `127.0.0.1:${PORT}`, bytes);
    await there.ready;
    this.#connect = this.#scenario.connect('-L', '8082:exchange', '--explain');
    const { listen } = await this.#connect.event('forward');
    const here = new Exchange(lab.hosts.a, 'dial', String(listen), bytes);
    this.#ends = [here, there];
    await here.ready;
    const began = performance.now();
    await this.#atShare(0.25, 'direct allowed');
    await this.#atShare(0.5, 'direct cut');
    await this.#atShare(0.75, 'direct allowed');
    const [a, b] = await Promise.all([here.done, there.done]);
    const seconds = (performance.now() - began) / 1000;
    await this.#connect.stop('SIGINT');
    const sums = [a.sentSha256 === b.receivedSha256, b.sentSha256 === a.receivedSha256];
    const whole = [a, b].every(({ sent, received }) => sent === bytes && received === bytes);
    return { bytes, seconds, equal: whole && sums.every(Boolean), changes: this.#changes([a, b]) };
  }

  /** At this share of the bytes: changes what the NATs do, and waits until both ends have followed. */
  async #atShare(share: number, change: PathChange['change']): Promise<void> {
    const { lab } = this.#scenario;
    await this.#until(() => this.#share >= share, 600_000, `${Math.round(100 * share)} % of the bytes`);
    const at = Date.now();
    const direct = change === 'direct allowed';
    await (direct ? lab.restore('direct') : lab.cut('direct'));
    let slow = false;
    const moved = () => {
      // Whatever the machine's speed: what is left has to last until the path has changed.
      if (!slow && this.#share >= share + 0.15) {
        slow = true;
        for (const end of this.#ends) end.pace(WAITING_PACE);
      }
      return this.#active.every((path) => path?.['direct'] === direct);
    };
    await this.#until(moved, this.#options.patienceMs ?? 60_000, `a path after: ${change}`);
    if (slow) for (const end of this.#ends) end.pace(0);
    const kinds = this.#active.map((path) => String(path?.['kind']));
    this.#marks.push({ at, change, movedAfterMs: Date.now() - at, kinds });
  }

  /** The slower direction's. */
  get #share(): number {
    return Math.min(...this.#ends.map(({ received }) => received)) / this.#options.bytes;
  }

  get #active(): (CommandEvent | undefined)[] {
    const isActive = ({ event, state }: CommandEvent) => event === 'path' && state === 'active';
    return [this.#connect, this.#scenario.up].map(({ events }) => events.findLast(isActive));
  }

  /** Rejects when an end of the transfer fails, or `peer connect` ends. */
  async #until(what: () => boolean, withinMs: number, words: string): Promise<void> {
    const until = performance.now() + withinMs;
    let failure: unknown;
    for (const end of this.#ends) end.done.catch((thrown: unknown) => (failure = thrown));
    while (!what()) {
      if (failure !== undefined) throw failure as Error;
      if (this.#connect.child.exitCode !== null) {
        throw new Error(`peer connect ended: ${(await this.#connect.ended).stderr}`);
      }
      if (performance.now() > until) throw new Error(`in vain for ${withinMs} ms: ${words}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  #changes(ends: readonly ExchangeLine[]): PathChange[] {
    const pauses = ends.flatMap((end) => end.pauses ?? []);
    return this.#marks.map(({ at, change, movedAfterMs, kinds }, index) => {
      const nextAt = this.#marks[index + 1]?.at ?? Infinity;
      const during = pauses.filter(({ endedAt }) => endedAt >= at && endedAt < nextAt);
      return { change, movedAfterMs, kinds, stallMs: Math.max(0, ...during.map(({ ms }) => ms)) };
    });
  }
}
