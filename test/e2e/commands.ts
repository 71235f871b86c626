import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** One JSON line that a command wrote on stderr. */
export interface CommandEvent {
  readonly event: string;
  readonly ms: number;
  readonly [field: string]: unknown;
}

export interface Ended {
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly events: readonly CommandEvent[];
}

export type CommandName = 'peer' | 'rendezvous' | 'relay';

/** Where the compiled command lies, for a shell or another program that is to start it. */
export function scriptOf(name: CommandName): string {
  return join(root, `dist/src/bin/${name}.js`);
}

export interface RunOptions {
  readonly environment?: NodeJS.ProcessEnv | undefined;
  /** Starts the process somewhere else than here, such as in a network namespace. */
  readonly start?:
    ((file: string, args: readonly string[], options: SpawnOptions) => ChildProcess) | undefined;
}

/** One of the real, compiled commands in a process of its own, with `--json`. */
export class RunningCommand {
  readonly child: ChildProcess;
  readonly events: CommandEvent[] = [];
  readonly ended: Promise<Ended>;
  /**
   * When its clock, the `ms` of its events, stood at zero by `performance.now()` here: as close as its promptest event
   * tells, `Infinity` before the first.
   */
  startedAt = Infinity;
  #stdout: Buffer[] = [];
  #stderr: string[] = [];
  #wake = new Set<() => void>();

  constructor(
    name: CommandName,
    args: readonly string[],
    { environment = {}, start = spawn }: RunOptions = {},
  ) {
    this.child = start(process.execPath, [scriptOf(name), ...args], {
      env: { ...process.env, ...environment },
    });
    this.child.stdin!.on('error', () => {}); // it may be killed with some of it unread
    this.child.stdout!.on('data', (chunk: Buffer) => this.#stdout.push(chunk));
    createInterface({ input: this.child.stderr! }).on('line', (line) => this.#onLine(line));
    this.ended = once(this.child, 'close').then((ended): Ended => {
      for (const wake of this.#wake) wake();
      const stdout = Buffer.concat(this.#stdout);
      return {
        status: ended[0] as number | null,
        stdout,
        stderr: this.#stderr.join('\n'),
        events: this.events,
      };
    });
  }

  /** What it has printed on stdout by now. */
  get stdoutSoFar(): readonly Buffer[] {
    return this.#stdout;
  }

  /** The first event of this name that fits, waiting for it if need be. */
  async event(name: string, fits: (event: CommandEvent) => boolean = () => true): Promise<CommandEvent> {
    for (;;) {
      const found = this.events.find((event) => event.event === name && fits(event));
      if (found) return found;
      await this.#news(`${name} event`);
    }
  }

  /** The first line on stderr that matches, waiting for it if need be. */
  async line(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = this.#stderr.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      await this.#news(`line like ${String(pattern)}`);
    }
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    if (this.child.exitCode === null) this.child.kill(signal);
    return this.ended;
  }

  async #news(wanted: string): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null)
      throw new Error(`no ${wanted}; it said:\n${this.#stderr.join('\n')}`);
    await new Promise<void>((resolve) => {
      this.#wake.add(resolve);
      setTimeout(resolve, 1_000).unref();
    });
  }

  #onLine(line: string): void {
    this.#stderr.push(line);
    if (line.startsWith('{')) {
      const event = JSON.parse(line) as CommandEvent;
      this.events.push(event);
      this.startedAt = Math.min(this.startedAt, performance.now() - event.ms);
    }
    for (const wake of this.#wake) wake();
    this.#wake.clear();
  }
}

/** A place for the commands of one test: temporary homes, a rendezvous, and everything ended afterwards. */
export class Stage {
  readonly folder = mkdtempSync(join(tmpdir(), 'sallyport-e2e-'));
  #running: RunningCommand[] = [];
  readonly #start: RunOptions['start'];

  /** @param start where its commands run, if not simply here */
  constructor(start?: RunOptions['start']) {
    this.#start = start;
  }

  home(name: string): string {
    return join(this.folder, name);
  }

  run(name: CommandName, args: readonly string[], options?: RunOptions): RunningCommand {
    const command = new RunningCommand(name, args, { start: this.#start, ...options });
    this.#running.push(command);
    return command;
  }

  /** A rendezvous on loopback; its URL and join URL. */
  async rendezvous(...args: string[]): Promise<{ command: RunningCommand; url: string; join: string }> {
    const admission = args.some((arg) => arg === '--token-file') ? [] : ['--open'];
    const where = ['--home', this.home('rendezvous'), '--listen', '127.0.0.1:0', '--stun-port', '0'];
    const command = this.run('rendezvous', [
      'start',
      ...where,
      '--insecure',
      '--json',
      ...admission,
      ...args,
    ]);
    const { url, join: joinUrl } = await command.event('listening');
    return { command, url: String(url), join: String(joinUrl) };
  }

  /** `peer <command> --home … --json`, for a peer of this name. */
  peer(name: string, command: string, ...args: string[]): RunningCommand {
    return this.run('peer', [command, ...args, '--home', this.home(name), '--json']);
  }

  async id(name: string): Promise<string> {
    const { stdout } = await this.peer(name, 'id').ended;
    return (JSON.parse(stdout.toString()) as { id: string }).id;
  }

  async close(): Promise<void> {
    await Promise.all(this.#running.map((command) => command.stop('SIGKILL')));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
