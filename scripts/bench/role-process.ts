import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { processorTime } from './procfs.ts';

/** What a process says; each message has one of these. */
export interface Said {
  ready?: unknown;
  began?: true;
  seconds?: number;
  /** What 99 of 100 stay below, in seconds. */
  tail?: number;
  /** Bytes that came within the time measured. */
  received?: number;
  latency?: Latency;
}

/** Milliseconds to and fro. */
export interface Latency {
  readonly median: number;
  /** Nineteen of twenty were faster. */
  readonly p95: number;
}

/** Where a process runs. */
export interface Spot {
  /** What to put before its command. */
  readonly enter: readonly string[];
  /** Where it can be reached. */
  readonly address: string;
}

/** One process of a contender, and what it has said and nobody has heard yet. */
export class RoleProcess {
  readonly #child: ChildProcess;
  #unheard: Said[] = [];
  #wake: () => void = () => {};
  #ended = false;

  /** @param job what process.mjs takes */
  constructor(job: object, { enter, address }: Spot) {
    const [file, ...args] = [...enter, process.execPath, PROGRAM, JSON.stringify(job)];
    const env = { ...process.env, BENCH_HOST: address };
    this.#child = spawn(file, args, { stdio: ['inherit', 'inherit', 'inherit', 'ipc'], env });
    this.#child.on('message', (said: Said) => {
      this.#unheard.push(said);
      this.#wake();
    });
    this.#child.once('exit', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  start(): void {
    this.#child.send('start');
  }

  /** Seconds of processor since it began; `undefined` where there is no procfs. Asking the process itself would wait for its event loop. */
  get processorTime(): number | undefined {
    return processorTime(this.#child.pid!);
  }

  /** Waits for it, if need be; throws when the process ends instead, or says nothing for a minute. */
  async hear<Kind extends keyof Said>(kind: Kind): Promise<NonNullable<Said[Kind]>> {
    const patience = performance.now() + PATIENCE_MS;
    for (;;) {
      const at = this.#unheard.findIndex((said) => kind in said);
      if (at >= 0) return this.#unheard.splice(at, 1)[0]![kind] as NonNullable<Said[Kind]>;
      if (this.#ended) throw new Error(`a process ended before it said ${kind}`);
      await this.#change(patience - performance.now());
    }
  }

  async end(): Promise<void> {
    if (this.#ended) return;
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    const impatience = setTimeout(() => this.#child.kill('SIGKILL'), LINGER_MS);
    await exited;
    clearTimeout(impatience);
  }

  #change(withinMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('a process says nothing')), withinMs);
      this.#wake = () => {
        clearTimeout(late);
        resolve();
      };
    });
  }
}

const PROGRAM = fileURLToPath(new URL('process.mjs', import.meta.url));
const PATIENCE_MS = 60_000;
const LINGER_MS = 5_000;
