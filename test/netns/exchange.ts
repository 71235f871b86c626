import { randomBytes } from 'node:crypto';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { CommandEvent, RunningCommand } from '../e2e/commands.ts';
import type { LabHost } from './lab.ts';
import type { Scenario } from './scenario.ts';

interface ExchangeLine {
  readonly ready?: boolean;
  readonly done?: boolean;
  readonly received?: number;
  readonly sent?: number;
  readonly sentSha256?: string;
  readonly receivedSha256?: string;
  readonly pauses?: readonly Pause[];
  readonly error?: string;
}

/** A time in which one end received nothing; `endedAt` is by the machine's clock. */
interface Pause {
  readonly endedAt: number;
  readonly ms: number;
}

const PORT = 8082;
/** Slow enough that the rest lasts for some minutes, and without pauses of its own; bytes per second. */
const waitingPace = (bytes: number): number =>
  Math.min(256 * 1024, Math.max(48 * 1024, Math.round(bytes / 400)));
/** This share of the bytes goes by at full speed after something has happened; what follows waits. */
const SHARE_AT_SPEED = 0.15;
const program = fileURLToPath(new URL('programs/exchange.mjs', import.meta.url));

/** One end of the exchange: a program on a host of the lab. */
class Exchange {
  readonly child: ChildProcess;
  readonly done: Promise<ExchangeLine>;
  readonly ready: Promise<void>;
  received = 0;

  constructor(host: LabHost, mode: 'listen' | 'dial', address: string, bytes: number) {
    const seed = randomBytes(8).toString('hex');
    this.child = host.spawn(process.execPath, [program, mode, address, String(bytes), seed]);
    this.child.stdin!.on('error', () => {}); // it may end first
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

/** What B has to expose for a `LiveTransfer`. */
export const EXCHANGE_SERVICE = `exchange=127.0.0.1:${PORT}`;

/** The same number of random bytes both ways at once through `peer connect -L`, compared by SHA-256 at both ends. */
export class LiveTransfer {
  readonly scenario: Scenario;
  readonly connect: RunningCommand;
  readonly #bytes: number;
  readonly #ends: readonly [here: Exchange, there: Exchange];
  readonly #beganAt = Date.now();
  #failure: unknown;

  private constructor(
    scenario: Scenario,
    connect: RunningCommand,
    ends: readonly [Exchange, Exchange],
    bytes: number,
  ) {
    this.scenario = scenario;
    this.connect = connect;
    this.#ends = ends;
    this.#bytes = bytes;
    for (const end of ends) end.done.catch((thrown: unknown) => (this.#failure ??= thrown));
  }

  /**
   * The scenario has to expose `EXCHANGE_SERVICE`.
   * @param bytes each way
   * @param forwards further ones, as `-L` takes them
   */
  static async begin(
    scenario: Scenario,
    bytes: number,
    forwards: readonly string[] = [],
  ): Promise<LiveTransfer> {
    const { a, b } = scenario.lab.hosts;
    const there = new Exchange(b, 'listen', `127.0.0.1:${PORT}`, bytes);
    await there.ready;
    const locals = [`${PORT}:exchange`, ...forwards].flatMap((forward) => ['-L', forward]);
    const connect = scenario.connect(...locals, '--explain', ...scenario.restriction);
    const { listen } = await connect.event('forward', ({ target }) => target === 'exchange');
    const here = new Exchange(a, 'dial', String(listen), bytes);
    await here.ready;
    return new LiveTransfer(scenario, connect, [here, there], bytes);
  }

  /** Of the bytes that have arrived, in the slower direction. */
  get share(): number {
    return Math.min(...this.#ends.map(({ received }) => received)) / this.#bytes;
  }

  /** What both ends have told of, A's first. */
  get told(): readonly (readonly CommandEvent[])[] {
    return [this.connect.events, this.scenario.up.events];
  }

  /** The path that each end sends on, by its own word. */
  get active(): (CommandEvent | undefined)[] {
    const isActive = ({ event, state }: CommandEvent) => event === 'path' && state === 'active';
    return this.told.map((events) => events.findLast(isActive));
  }

  /** Both ends send on a path of this class. */
  isDirect(direct: boolean): boolean {
    return this.active.every((path) => path?.['direct'] === direct);
  }

  /** Bytes per second of both ends; 0 is as fast as it goes. */
  pace(rate: number): void {
    for (const end of this.#ends) end.pace(rate);
  }

  /** Rejects when an end of the exchange fails, or `peer connect` ends. */
  async until(what: () => boolean, withinMs: number, words: string): Promise<void> {
    const until = performance.now() + withinMs;
    while (!what()) {
      if (this.#failure !== undefined) throw this.#failure as Error;
      if (this.connect.child.exitCode !== null) {
        throw new Error(`peer connect ended: ${(await this.connect.ended).stderr}`);
      }
      if (performance.now() > until) throw new Error(`in vain for ${withinMs} ms: ${words}`);
      await sleep(20);
    }
  }

  async reached(share: number): Promise<void> {
    await this.until(() => this.share >= share, 600_000, `${Math.round(100 * share)} % of the bytes`);
  }

  /** Whatever the machine's speed, bytes are still under way when `task` is done. Resolves with what it did. */
  async during<Result>(task: () => Promise<Result>): Promise<Result> {
    const slowAt = this.share + SHARE_AT_SPEED;
    let slow = false;
    const watch = setInterval(() => {
      if (slow || this.share < slowAt) return;
      slow = true;
      this.pace(waitingPace(this.#bytes));
    }, 20);
    try {
      return await task();
    } finally {
      clearInterval(watch);
      if (slow) this.pace(0);
    }
  }

  /** What became of both ends: errors, or that they are done. */
  async outcomes(): Promise<('done' | Error)[]> {
    return Promise.all(
      this.#ends.map(({ done }) =>
        done.then(
          () => 'done' as const,
          (thrown: unknown) => thrown as Error,
        ),
      ),
    );
  }

  /** Until every byte has arrived; both ends have to have hashed the same, both ways. */
  async finish(): Promise<FinishedTransfer> {
    const [here, there] = await Promise.all([this.#ends[0].done, this.#ends[1].done]);
    const seconds = (Date.now() - this.#beganAt) / 1000;
    await this.connect.stop('SIGINT');
    const sums = [here.sentSha256 === there.receivedSha256, there.sentSha256 === here.receivedSha256];
    const whole = [here, there].every(
      ({ sent, received }) => sent === this.#bytes && received === this.#bytes,
    );
    const pauses = [here, there].flatMap((end) => end.pauses ?? []);
    return { seconds, equal: whole && sums.every(Boolean), pauses };
  }
}

export interface FinishedTransfer {
  readonly seconds: number;
  /** Both ends have hashed the same bytes, both ways. */
  readonly equal: boolean;
  readonly pauses: readonly Pause[];
}

/** The longest time in which one end received nothing, of those that ended between two instants of the machine's clock. */
export function longestStall({ pauses }: FinishedTransfer, from: number, to = Infinity): number {
  const during = pauses.filter(({ endedAt }) => endedAt >= from && endedAt < to);
  return Math.max(0, ...during.map(({ ms }) => ms));
}
