import { spawn, type ChildProcess } from 'node:child_process';
import { readdir, readlink } from 'node:fs/promises';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { SallyportError } from '../../src/core/errors.ts';
import { runCommand } from './commands.ts';
import { labSupport } from './support.ts';

/**
 * A set of network namespaces, each held by one sleeping process and named by its process id, so that nothing is
 * mounted and parallel sets cannot collide. The holders end when their stdin does: whatever becomes of this process,
 * be it killed, the kernel takes the namespaces away.
 */
export class Namespaces {
  readonly #holder: ChildProcess;
  readonly #pids: ReadonlyMap<string, number>;
  readonly #rootless: boolean;

  private constructor(holder: ChildProcess, pids: ReadonlyMap<string, number>, rootless: boolean) {
    this.#holder = holder;
    this.#pids = pids;
    this.#rootless = rootless;
  }

  /**
   * As root, else as the root of a user namespace of their own (`unshare -Ur`), which any user may make. Throws
   * `UNSUPPORTED` where neither can be.
   */
  static async open(names: readonly string[]): Promise<Namespaces> {
    const support = await labSupport();
    if (!support.ok) throw new SallyportError('UNSUPPORTED', support.reason, { hint: SUPPORT_HINT });
    const { rootless } = support;
    const shell = ['sh', '-c', HOLDER_SCRIPT, 'sh', ...names];
    const [file = '', ...args] = rootless ? ['unshare', '-U', '-r', ...shell] : shell;
    // `detached` keeps a terminal's SIGINT away from the holders; end of stdin is what ends them.
    const holder = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    try {
      return new Namespaces(holder, await readPids(holder, names.length), rootless);
    } catch (error) {
      holder.stdin?.destroy();
      throw error;
    }
  }

  /** What `make` makes of them, which closes them in its time; they are closed at once where it fails. Throws as `open` does. */
  static async build<T>(names: readonly string[], make: (namespaces: Namespaces) => Promise<T>): Promise<T> {
    const namespaces = await Namespaces.open(names);
    try {
      return await make(namespaces);
    } catch (error) {
      await namespaces.close();
      throw error;
    }
  }

  /** The id of the process that holds a namespace; `ip link … netns <pid>` takes it. */
  pid(name: string): number {
    const pid = this.#pids.get(name);
    if (pid === undefined) throw new SallyportError('INTERNAL', `the lab has no namespace ${name}`);
    return pid;
  }

  /** What to put before a command so that it runs inside, as itself: the process started becomes the command. */
  enter(name: string): string[] {
    const user = this.#rootless ? ['-U', '--preserve-credentials'] : [];
    return ['nsenter', '-t', String(this.pid(name)), ...user, '-n', '--'];
  }

  /** Runs a shell script inside; a command that fails in it fails the whole. Resolves with what it printed. */
  async run(name: string, script: string): Promise<string> {
    const result = await runCommand([...this.enter(name), 'sh', '-e', '-s'], { stdin: script });
    if (result.code === 0) return result.stdout;
    throw new SallyportError('INTERNAL', `set-up of ${name} failed: ${result.stderr.trim()}`, {
      hint: 'a kernel without veth, nf_tables or connection tracking cannot run the lab',
    });
  }

  /** Kills what still runs inside and lets the namespaces go. */
  async close(): Promise<void> {
    await this.#killInhabitants();
    const ended = this.#holder.exitCode !== null || this.#holder.signalCode !== null;
    this.#holder.stdin?.end();
    if (!ended) await once(this.#holder, 'exit');
  }

  async #killInhabitants(): Promise<void> {
    const holders = new Set(this.#pids.values());
    const links = await Promise.all([...holders].map(namespaceOf));
    const ours = new Set(links.filter((link) => link !== undefined));
    const processes = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry)).map(Number);
    await Promise.all(
      processes.map(async (pid) => {
        if (holders.has(pid)) return;
        const link = await namespaceOf(pid);
        if (link !== undefined && ours.has(link)) killIfAlive(pid);
      }),
    );
  }
}

async function readPids(holder: ChildProcess, count: number): Promise<Map<string, number>> {
  const pids = new Map<string, number>();
  let complaint = '';
  holder.on('error', (error) => (complaint = error.message));
  holder.stderr?.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  if (holder.stdout) {
    for await (const line of createInterface({ input: holder.stdout })) {
      const [name = '', pid] = line.split(' ');
      pids.set(name, Number(pid));
      if (pids.size === count) return pids;
    }
  }
  throw new SallyportError('UNSUPPORTED', `network namespaces cannot be made: ${complaint.trim()}`);
}

/** The identity of a process's network namespace; undefined where the process is gone or someone else's. */
function namespaceOf(pid: number): Promise<string | undefined> {
  return readlink(`/proc/${pid}/ns/net`).catch(() => undefined);
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself in between.
  }
}

/** Starts one holder per name, each in a network namespace of its own, and prints "name pid" for each. */
const HOLDER_SCRIPT = `
exec 3<&0
for name in "$@"; do
  unshare -n sh -c 'echo "$1 $$"; exec cat <&3 >/dev/null 2>&1' sh "$name" &
done
exec >/dev/null 2>&1
wait
`;

const SUPPORT_HINT =
  'the lab needs Linux with root or unprivileged user namespaces; apt install iproute2 nftables conntrack';
