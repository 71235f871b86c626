import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SallyportError } from '../../src/core/errors.ts';
import { runCommand } from './commands.ts';
import type { Namespaces } from './namespaces.ts';

/** What an access link does to each direction by itself. */
export interface WireSettings {
  /** One way. */
  delayMs?: number | undefined;
  /** Uniform, ± around the delay; the order is kept. */
  jitterMs?: number | undefined;
  lossPercent?: number | undefined;
  /** That share of the packets skips the delay and so overtakes others. */
  reorderPercent?: number | undefined;
  duplicatePercent?: number | undefined;
  /** Megabits per second, Ethernet headers included. */
  rateMbit?: number | undefined;
  /** What may wait for the rate; the next is dropped. */
  queueKib?: number | undefined;
  /** Makes loss, jitter, reordering and duplication repeatable, packet for packet. */
  seed?: number | undefined;
}

/** Whether single packets matter: a kernel's bundle of segments would be lost, doubled, overtake or find no room as one. */
export function needsSinglePackets(settings: WireSettings): boolean {
  const { lossPercent, reorderPercent, duplicatePercent, rateMbit } = settings;
  return [lossPercent, reorderPercent, duplicatePercent, rateMbit].some((value = 0) => value > 0);
}

const SETTING_NAMES: Record<keyof WireSettings, string> = {
  delayMs: 'delay',
  jitterMs: 'jitter',
  lossPercent: 'loss',
  reorderPercent: 'reorder',
  duplicatePercent: 'duplicate',
  rateMbit: 'rate',
  queueKib: 'queue',
  seed: 'seed',
};

/** A running `wire.c` between the interfaces `inner` and `outer` of its namespace; it ends with this process. */
export class Wire {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  static async start(namespaces: Namespaces, name: string, settings: WireSettings): Promise<Wire> {
    const options = settingPairs(settings).flatMap(([option, value]) => [`--${option}`, String(value)]);
    const command = [...namespaces.enter(name), await wireProgram(), 'inner', 'outer', ...options];
    const [file = '', ...args] = command;
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    let complaint = '';
    child.on('error', (error) => (complaint = error.message));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
    for await (const line of createInterface({ input: child.stdout })) {
      if (line === 'ready') return new Wire(child);
    }
    throw new SallyportError('INTERNAL', `${name} did not start: ${complaint.trim()}`);
  }

  /** Holds from the next packet on; packets on the way keep their due time. */
  change(settings: WireSettings): void {
    const lines = settingPairs(settings).map(([name, value]) => `${name} ${value}\n`);
    this.#process.stdin?.write(lines.join(''));
  }

  async close(): Promise<void> {
    const ended = this.#process.exitCode !== null || this.#process.signalCode !== null;
    this.#process.stdin?.end();
    if (!ended) await once(this.#process, 'exit');
  }
}

function settingPairs(settings: WireSettings): [name: string, value: number][] {
  return Object.entries(settings)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => [SETTING_NAMES[key as keyof WireSettings], Number(value)]);
}

const SOURCE = fileURLToPath(new URL('wire.c', import.meta.url));
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/sallyport/', import.meta.url));

/** The path of the compiled `wire.c`: compiled at first use, and again when the source changes. */
async function wireProgram(): Promise<string> {
  const version = createHash('sha256')
    .update(await readFile(SOURCE))
    .digest('hex')
    .slice(0, 16);
  const program = join(CACHE, `wire-${version}`);
  const present = await access(program).then(
    () => true,
    () => false,
  );
  if (!present) await compile(program);
  return program;
}

/** Compiles beside the target and renames, so that others at the same time see a whole program or none. */
async function compile(program: string): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  const folder = await mkdtemp(join(CACHE, 'build-'));
  const built = join(folder, 'wire');
  const result = await runCommand(['cc', '-O2', '-Wall', '-Wextra', '-o', built, SOURCE]);
  if (result.code === 0) await rename(built, program);
  await rm(folder, { recursive: true });
  if (result.code === 0) return;
  throw new SallyportError('UNSUPPORTED', `the lab's wire does not compile: ${result.stderr.trim()}`, {
    hint: 'delay and loss need a C compiler: apt install gcc libc6-dev',
  });
}
