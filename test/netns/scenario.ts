import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SallyportError } from '../../src/core/errors.ts';
import { RunningCommand, type CommandEvent, type CommandName } from '../e2e/commands.ts';
import { natOf } from './nats.ts';
import { Lab, type HostName, type LabOptions, type NatCounters } from './lab.ts';
import { TemporaryFolder } from './temporary-folder.mjs';

export interface ScenarioOptions extends LabOptions {
  /** The kinds of path that `peer connect` is restricted to. */
  readonly paths?: string | undefined;
  /** `separate`: the relay is a process of its own on a host of its own; `pair`: two of them. @default 'built-in' */
  readonly relay?: 'built-in' | 'separate' | 'pair' | undefined;
  /** What B exposes beside `echo`, as `peer up --expose` takes it. */
  readonly expose?: readonly string[] | undefined;
  /** How far the time of day of B's commands is ahead of everybody else's. */
  readonly clockOffsetMs?: number | undefined;
  /** B's commands can have what they measured of the rendezvous's clock made wrong: `stepClock`. */
  readonly hasSteppingClock?: boolean | undefined;
  /** What each of the commands may use. */
  readonly limits?: Limits | undefined;
}

interface Limits {
  /** `--max-old-space-size` of all of them. */
  readonly heapMiB?: number;
  /** Files that the peer on this host may have open. */
  readonly files?: { readonly host: 'a' | 'b'; readonly most: number };
}

/** What one `peer connect` through the lab came to. */
export interface Meeting {
  /** What A said, and B: the kind of path that each ended up sending on. */
  readonly a: string;
  readonly b: string;
  readonly direct: boolean;
  readonly technique: string | undefined;
  /** Why it is relayed, where it is. */
  readonly reason: string | undefined;
  /** From A's `registered` to the first byte echoed. */
  readonly firstByteMs: number;
  /** From the answer's arrival at A to the first direct path active there; `undefined` where none was. */
  readonly directMs: number | undefined;
  /**
   * From A's registration, upon which its offer leaves at once, until the later of both ends held an authenticated
   * answer to a probe of its own (UDP) or a connection that it took for the peer's (TCP); `undefined` where one did not.
   */
  readonly confirmedMs: number | undefined;
  /** From A's registration until both ends sent directly, for the first time; `undefined` where they never did. */
  readonly bothDirectMs: number | undefined;
  /** What A confirmed its first direct way by; `technique` is that of the path which both ended up on. */
  readonly confirmedBy: string | undefined;
  /** What A sent and B sent for that: UDP probes, or SYNs; as their traces count them. */
  readonly packets: readonly [a: number, b: number];
  /** Direct paths that A has up at the end. */
  readonly kinds: readonly string[];
  /** What A's NAT itself forwarded between the two peers while 64 KiB went to and fro; seen from A. */
  readonly counted: { readonly sent: DirectBytes; readonly received: DirectBytes };
  /** Neither end has moved to another path meanwhile: then all of it is to be found on the path that each names. */
  readonly steady: boolean;
}

type Proof = Pick<Meeting, 'counted' | 'steady'>;

interface DirectBytes {
  readonly udp: number;
  readonly tcp: number;
}

interface MeetOptions {
  /** How long after the offer to wait for a direct path, or for the reason why there is none. */
  readonly patienceMs?: number;
  /** Instead of the scenario's own. */
  readonly paths?: string | undefined;
  /** How long to wait for the second kind of direct path once there is one. @default 700 */
  readonly lingerMs?: number;
  /** Has the NAT count what passes. @default true */
  readonly prove?: boolean;
}

/** In a meeting's `reason`, where no verdict came. */
export const NOTHING_SAID = 'nothing was said';

const programs = fileURLToPath(new URL('programs', import.meta.url));
const PROXY_PORT = 3128;
/** After everything is settled, this much goes there and back: the NAT's counters have to show it. */
export const PROOF_BYTES = 64 * 1024;
const UNPROVEN: Proof = {
  counted: { sent: { udp: 0, tcp: 0 }, received: { udp: 0, tcp: 0 } },
  steady: true,
};
/** By then the commands' own words about what has passed have been read. */
const NEWS_MS = 100;

/** A rendezvous, `peer up` behind NAT B and any number of `peer connect` behind NAT A, all the real commands. */
export class Scenario {
  readonly lab: Lab;
  readonly #folder = new TemporaryFolder('lab');
  readonly #options: ScenarioOptions;
  readonly #commands: RunningCommand[] = [];
  readonly #exposed: string[] = [];
  #dials = 0;
  #homesOfB = 0;
  rendezvous!: RunningCommand;
  /** Standalone ones. */
  relays: RunningCommand[] = [];
  up!: RunningCommand;
  url = '';
  /** B's id. */
  id = '';

  private constructor(lab: Lab, options: ScenarioOptions) {
    this.lab = lab;
    this.#options = options;
  }

  static async start(options: ScenarioOptions): Promise<Scenario> {
    const {
      paths: _paths,
      relay: _relay,
      expose: _expose,
      limits: _limits,
      clockOffsetMs: _offset,
      hasSteppingClock: _steps,
      ...labOptions
    } = options;
    const scenario = new Scenario(await Lab.create(labOptions), options);
    try {
      await scenario.#begin();
      return scenario;
    } catch (error) {
      await scenario.close();
      throw error;
    }
  }

  /** Connects once from A, with a fresh identity, and waits until it is as good as it gets. */
  async meet({
    patienceMs = 15_000,
    paths = this.#options.paths,
    lingerMs = 700,
    prove = true,
  }: MeetOptions = {}): Promise<Meeting> {
    const before = this.up.events.length;
    const restriction = paths === undefined ? [] : ['--paths', paths];
    const connect = this.connect('-W', 'echo', '--explain', ...restriction);
    const registered = connect.event('registered');
    const echoed = once(connect.child.stdout!, 'data').then(() => performance.now());
    connect.child.stdin!.write('x');
    const seen = await registered.then(() => performance.now());
    const session = await connect.event('session');
    if (paths !== 'relay') await this.#settled(connect, before, { until: seen + patienceMs, lingerMs });
    const firstByteMs = (await Promise.race([echoed, failed(connect)])) - seen;
    const proof = prove ? await this.#proveOnOnePath(connect, before) : UNPROVEN;
    // What is said later, as of a path that is improved on, is not what was proven.
    const meeting = meetingOf(connect, this.up, before, session, firstByteMs, proof);
    connect.child.stdin!.end();
    await connect.ended;
    return meeting;
  }

  /** Another peer at B: whatever is capped or remembered per peer and time, such as floods, begins anew. */
  async restartUp(): Promise<void> {
    await this.up.stop();
    await this.#startUp();
  }

  /**
   * `up`'s monotonic clock goes ahead by so much, or back: what it measured of the rendezvous's clock is off by that
   * until it has measured again, and so is every start that it agrees upon with others.
   */
  async stepClock(ms: number): Promise<void> {
    if (!this.#options.hasSteppingClock)
      throw new SallyportError(
        'USAGE',
        "the scenario was made without a clock that steps: set 'hasSteppingClock'",
      );
    writeFileSync(this.#stepFile, String(ms));
    this.up.child.kill('SIGUSR2');
    await new Promise((resolve) => setTimeout(resolve, NEWS_MS));
    this.up.startedAt = Infinity; // to be known from what it dates by the clock as it is now
  }

  get #stepFile(): string {
    return join(this.#folder.path, 'clock-step');
  }

  /** `peer connect` to B on host A, with a home of its own. */
  connect(...args: string[]): RunningCommand {
    return this.peer('a', `a${this.#dials++}`, 'connect', this.id, ...args);
  }

  /** A `peer` command on a host of the lab. */
  peer(host: HostName, home: string, command: string, ...args: string[]): RunningCommand {
    const where = ['--home', join(this.#folder.path, home), '--rendezvous', this.#urlFrom(host), '--json'];
    return this.run(host, 'peer', [command, ...args, ...where]);
  }

  run(host: HostName, name: CommandName, args: readonly string[]): RunningCommand {
    const proxied = host === 'a' ? this.#options.a : host === 'b' ? this.#options.b : '';
    const proxy = proxied.startsWith('proxy-only') ? `http://${this.lab.addresses.proxy}:${PROXY_PORT}` : '';
    const environment = {
      HTTP_PROXY: proxy,
      HTTPS_PROXY: '',
      ALL_PROXY: '',
      NO_PROXY: '',
      http_proxy: '',
      https_proxy: '',
      all_proxy: '',
      no_proxy: '',
      ...heapOptions(this.#options.limits),
      ...(host === 'b' && this.#clockOptions()),
    };
    const files = this.#options.limits?.files;
    const spawn = this.lab.hosts[host].spawn.bind(this.lab.hosts[host]);
    const start: typeof spawn = (file, rest, options) =>
      files?.host === host
        ? spawn('sh', ['-c', `ulimit -n ${files.most}; exec "$@"`, 'sh', file, ...(rest ?? [])], options)
        : spawn(file, rest, options);
    const command = new RunningCommand(name, args, { environment, start });
    this.#commands.push(command);
    return command;
  }

  /** A program of `programs/` on a host of the lab; resolves with the port that it prints. */
  async program(host: HostName, name: string, ...args: string[]): Promise<number> {
    const child = this.lab.hosts[host].spawn(process.execPath, [join(programs, name), ...args]);
    const [line] = (await once(child.stdout!, 'data')) as [Buffer];
    return Number(line.toString());
  }

  /** Several sessions from one process on host A to B, none of which ends before the others: what each is direct by. */
  async librarySessions(
    count: number,
    kinds: string,
  ): Promise<{ kind?: string; local?: string; remote?: string }[]> {
    const script = join(programs, 'sessions.mjs');
    const args = [
      script,
      join(this.#folder.path, 'library'),
      this.#urlFrom('a'),
      this.id,
      kinds,
      String(count),
    ];
    const child = this.lab.hosts.a.spawn(process.execPath, args);
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout! })) lines.push(line);
    return lines.map((line) => JSON.parse(line) as { kind?: string; local?: string; remote?: string });
  }

  /** The options by which `peer connect` is kept to the scenario's kinds of path. */
  get restriction(): string[] {
    const { paths } = this.#options;
    return paths === undefined ? [] : ['--paths', paths];
  }

  async close(): Promise<void> {
    await this.lab.close();
    await this.#folder.close();
  }

  async #begin(): Promise<void> {
    await this.program('proxy', 'proxy.mjs', '0.0.0.0', String(PROXY_PORT));
    this.rendezvous = this.startRendezvous();
    this.url = String((await this.rendezvous.event('listening'))['url']);
    const count = { 'built-in': 0, separate: 1, pair: 2 }[this.#options.relay ?? 'built-in'];
    for (let index = 0; index < count; index++) await this.startRelay(index);
    const echoPort = await this.program('b', 'echo.mjs');
    this.#exposed.push(`echo=127.0.0.1:${echoPort}`, ...(this.#options.expose ?? []));
    await this.#startUp();
  }

  async #startUp(): Promise<void> {
    const exposures = this.#exposed.flatMap((each) => ['--expose', each]);
    this.up = this.peer('b', `b${this.#homesOfB++}`, 'up', '--allow', 'any', '--explain', ...exposures);
    this.id = String((await this.up.event('registered'))['id']);
    await this.up.event('up');
    // As a peer that has been up for a while: its NAT is known.
    await new Promise((resolve) => setTimeout(resolve, 1_600));
  }

  /** A host without IPv4 needs the rendezvous's other address. */
  #urlFrom(host: HostName): string {
    const only6 = natOf(this.#options[host === 'b' ? 'b' : 'a']).ipv6 === 'only';
    return only6 ? `http://[${this.lab.addresses.rendezvousIPv6}]:443` : this.url;
  }

  /** On port 443, so that a network that lets nothing else out gets there. */
  startRendezvous(): RunningCommand {
    const [first, second] = this.lab.addresses.rendezvous;
    const over6 = this.lab.addresses.rendezvousIPv6;
    const listen = over6
      ? ['--listen', '[::]:443', '--public-address', first, '--ipv6-address', over6]
      : ['--listen', `${first}:443`];
    const where = [...listen, '--alt-address', second, '--home', join(this.#folder.path, 'r')];
    const relay = (this.#options.relay ?? 'built-in') === 'built-in' ? [] : ['--no-relay'];
    return this.run('rendezvous', 'rendezvous', [
      'start',
      ...where,
      ...relay,
      '--insecure',
      '--open',
      '--json',
    ]);
  }

  /** Starts one of the standalone relays, or starts it again; resolves when it takes circuits. */
  async startRelay(index = 0): Promise<void> {
    const { relay } = this.lab.addresses;
    const where = ['--listen', `${relay}:${443 + index}`, '--stun-port', String(3478 + 10 * index)];
    const home = join(this.#folder.path, `relay${index}`);
    const args = ['--rendezvous', this.url, ...where, '--home', home, '--insecure', '--json'];
    const command = this.run('relay', 'relay', ['start', ...args]);
    this.relays[index] = command;
    await command.event('listening');
  }

  /** What makes a node process believe that it is later, or earlier. */
  #clockOptions(): { NODE_OPTIONS: string } | undefined {
    const { clockOffsetMs, hasSteppingClock } = this.#options;
    const ofDay = `const{now}=Date;Date.now=()=>now()+${clockOffsetMs}`;
    const file = JSON.stringify(this.#stepFile);
    const steps =
      "import{readFileSync}from'node:fs';const sure=performance.now.bind(performance);let step=0;" +
      `performance.now=()=>sure()+step;process.on('SIGUSR2',()=>{step+=Number(readFileSync(${file}))})`;
    const programs = [...(hasSteppingClock ? [steps] : []), ...(clockOffsetMs === undefined ? [] : [ofDay])];
    if (programs.length === 0) return undefined;
    return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(programs.join(';'))}` };
  }

  /** Until both ends send on a direct path, or one says why that is not to be. */
  async #settled(
    connect: RunningCommand,
    before: number,
    { until, lingerMs }: { until: number; lingerMs: number },
  ): Promise<void> {
    const both = () => [connect.events, this.up.events.slice(before)].map(activePath);
    const relayed = () => connect.events.some(({ event, stage }) => event === 'trace' && stage === 'verdict');
    while (performance.now() < until) {
      if (both().every((path) => path?.['direct'] === true)) break;
      if (relayed()) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // The second kind of direct path may be a moment behind the first.
    if (both().some((path) => path?.['direct'] === true))
      await new Promise((resolve) => setTimeout(resolve, lingerMs));
  }

  /** Once more where an end has moved to another path meanwhile: that may take a while to end, so not for ever. */
  async #proveOnOnePath(connect: RunningCommand, before: number): Promise<Proof> {
    const ends = () => [connect.events, this.up.events.slice(before)];
    const moves = () => ends().map((events) => events.filter(isActive).length);
    for (let left = 3; ; left--) {
      const movesBefore = moves().join();
      const counted = await this.#prove(connect);
      await new Promise((resolve) => setTimeout(resolve, NEWS_MS)); // what the ends say comes by other pipes
      const steady = moves().join() === movesBefore;
      if (steady || left === 0) return { counted, steady };
    }
  }

  async #prove(connect: RunningCommand): Promise<Meeting['counted']> {
    const before = directBytes(await this.lab.natCounters('a'));
    let got = 0;
    const back = new Promise<void>((resolve) => {
      connect.child.stdout!.on('data', (chunk: Buffer) => {
        got += chunk.length;
        if (got >= PROOF_BYTES) resolve();
      });
    });
    connect.child.stdin!.write(Buffer.alloc(PROOF_BYTES));
    await Promise.race([back, failed(connect)]);
    const after = directBytes(await this.lab.natCounters('a'));
    return { sent: grown(before.sent, after.sent), received: grown(before.received, after.received) };
  }
}

function heapOptions({ heapMiB }: Limits = {}): NodeJS.ProcessEnv {
  return heapMiB === undefined ? {} : { NODE_OPTIONS: `--max-old-space-size=${heapMiB}` };
}

/** Rejects when the command ends. */
async function failed(command: RunningCommand): Promise<never> {
  const { status, stderr } = await command.ended;
  throw new Error(`peer connect ended with ${status}:\n${stderr}`);
}

function directBytes({ direct: { udp, tcp } }: NatCounters): Meeting['counted'] {
  return {
    sent: { udp: udp.sent.bytes, tcp: tcp.sent.bytes },
    received: { udp: udp.received.bytes, tcp: tcp.received.bytes },
  };
}

function grown(before: DirectBytes, after: DirectBytes): DirectBytes {
  return { udp: after.udp - before.udp, tcp: after.tcp - before.tcp };
}

function activePath(events: readonly CommandEvent[]): CommandEvent | undefined {
  return events.findLast(isActive);
}

function isActive({ event, state }: CommandEvent): boolean {
  return event === 'path' && state === 'active';
}

function meetingOf(
  connect: RunningCommand,
  up: RunningCommand,
  before: number,
  session: CommandEvent,
  firstByteMs: number,
  proof: Proof,
): Meeting {
  const [a, b] = [connect.events, up.events.slice(before)];
  const [here, there] = [activePath(a), activePath(b)];
  const confirmedBy = a.find(isConfirmation);
  const firstDirect = a.find(({ event, state, direct }) => event === 'path' && state === 'active' && direct);
  const verdict = a.findLast(({ event, stage }) => event === 'trace' && stage === 'verdict');
  const direct = [here, there].every((path) => path?.['direct'] === true);
  const ups = a.filter(({ event, state, direct }) => event === 'path' && state === 'up' && direct);
  return {
    a: String(here?.['kind']),
    b: String(there?.['kind']),
    direct,
    technique: direct ? String(here?.['technique']) : undefined,
    reason: direct ? undefined : textOf(verdict),
    firstByteMs: Math.round(firstByteMs),
    directMs: firstDirect && firstDirect.ms - session.ms,
    confirmedMs: confirmedMs(connect, up, before),
    bothDirectMs: bothDirectMs(connect, up, before),
    confirmedBy: confirmedBy === undefined ? undefined : String(confirmedBy['stage']),
    packets: [packetsOf(a), packetsOf(b)],
    kinds: [...new Set(ups.map(({ kind }) => String(kind)))],
    ...proof,
  };
}

function textOf(verdict: CommandEvent | undefined): string {
  const text = verdict?.['text'];
  return typeof text === 'string' ? text : NOTHING_SAID;
}

/** What an end's trace says when it has confirmed a way; the words of `ConnectivityChecks` and `TcpOpening`. */
const CONFIRMED = / answered; |^connected to /;

function isConfirmation({ event, stage, text }: CommandEvent): boolean {
  return event === 'trace' && stage !== 'verdict' && typeof text === 'string' && CONFIRMED.test(text);
}

/** Both ends by one clock: this process's. */
function confirmedMs(connect: RunningCommand, up: RunningCommand, before: number): number | undefined {
  const offer = connect.events.find(({ event }) => event === 'registered');
  const ends = [connect.events.find(isConfirmation), up.events.slice(before).find(isConfirmation)];
  const [here, there] = ends;
  if (offer === undefined || here === undefined || there === undefined) return undefined;
  const offeredAt = connect.startedAt + offer.ms;
  return Math.round(Math.max(connect.startedAt + here.ms, up.startedAt + there.ms) - offeredAt);
}

/** By the word of both ends, in the order of their clocks. */
function bothDirectMs(connect: RunningCommand, up: RunningCommand, before: number): number | undefined {
  const offer = connect.events.find(({ event }) => event === 'registered');
  const moves = [
    ...connect.events.filter(isActive).map((move) => ({ end: 0, move, at: connect.startedAt + move.ms })),
    ...up.events
      .slice(before)
      .filter(isActive)
      .map((move) => ({ end: 1, move, at: up.startedAt + move.ms })),
  ].toSorted((one, other) => one.at - other.at);
  const direct = [false, false];
  for (const { end, move, at } of moves) {
    direct[end] = move['direct'] === true;
    if (offer && direct.every(Boolean)) return Math.round(at - connect.startedAt - offer.ms);
  }
  return undefined;
}

function packetsOf(events: readonly CommandEvent[]): number {
  return Math.max(0, ...events.map(({ event, packets }) => (event === 'trace' ? Number(packets ?? 0) : 0)));
}
