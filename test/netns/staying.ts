import { createHash, randomBytes } from 'node:crypto';
import type { CommandEvent, RunningCommand } from '../e2e/commands.ts';
import type { Lab, NatName } from './lab.ts';
import { Scenario } from './scenario.ts';

/** What befalls the network of side A in the middle of a session. */
export type Disturbance = 'NAT reboot' | 'public address change' | 'link outage of 5 s';

export interface StayingReport {
  /** From the end of the disturbance until bytes went both ways on a direct path again; `undefined`: not in time. */
  readonly directAfterMs: number | undefined;
  /** Everything that was sent meanwhile came back, once and in order. */
  readonly intact: boolean;
}

interface StayingOptions {
  readonly a: NatName;
  readonly b: NatName;
  readonly delayMs: number;
  readonly patienceMs?: number;
}

const DISTURBANCES: Readonly<Record<Disturbance, (lab: Lab) => Promise<unknown>>> = {
  'NAT reboot': (lab) => lab.forgetMappings('a'),
  'public address change': (lab) => lab.changePublicAddress('a'),
  'link outage of 5 s': (lab) => lab.linkOutage('a', 5_000),
};

const BLOCK_BYTES = 2_048;
const BLOCK_EVERY_MS = 50;
const LOOK_EVERY_MS = 200;
/** So many looks in a row have to find the bytes on a direct path. */
const STEADY_LOOKS = 3;

/** Two peers echo bytes on a direct path, something happens to A's network, and they go on. */
export async function disturb(disturbance: Disturbance, options: StayingOptions): Promise<StayingReport> {
  const scenario = await Scenario.start(options);
  try {
    const connect = await connectDirectly(scenario);
    const echo = new Echo(connect);
    echo.start();
    await pause(1_000);
    await DISTURBANCES[disturbance](scenario.lab);
    const directAfterMs = await untilDirect(scenario, connect, options.patienceMs ?? 30_000);
    return { directAfterMs, intact: await echo.finish() };
  } finally {
    await scenario.close();
  }
}

export interface IdleReport {
  /** From a byte's way in to its echo's way out, after the idle time. */
  readonly firstByteMs: number;
  /** The paths are those from before: none went down, none came up. */
  readonly samePath: boolean;
}

/** Two peers on a direct path by UDP say nothing for so long; then one byte is echoed. */
export async function fallIdle(idleMs: number, options: StayingOptions): Promise<IdleReport> {
  const scenario = await Scenario.start({ ...options, paths: 'udp,relay' });
  try {
    const connect = await connectDirectly(scenario);
    const changes = () =>
      [connect, scenario.up].map(({ events }) => events.filter(isPathChange).length).join();
    const before = changes();
    await pause(idleMs);
    const began = performance.now();
    const echoed = new Promise((resolve) => connect.child.stdout!.once('data', resolve));
    connect.child.stdin!.write('x');
    await Promise.race([echoed, pause(options.patienceMs ?? 30_000)]);
    return { firstByteMs: Math.round(performance.now() - began), samePath: changes() === before };
  } finally {
    await scenario.close();
  }
}

/** Until both ends send on a direct path, and a second way that may come has come. */
async function connectDirectly(scenario: Scenario): Promise<RunningCommand> {
  const connect = scenario.connect('-W', 'echo', '--explain', ...scenario.restriction);
  connect.child.stdin!.write('x');
  const until = performance.now() + 20_000;
  while (!isDirect(scenario, connect)) {
    if (performance.now() > until) throw new Error('there was no direct path to begin with');
    await pause(50);
  }
  await pause(2_000);
  return connect;
}

/** By what both ends say and by what A's NAT counts. */
async function untilDirect(
  scenario: Scenario,
  connect: RunningCommand,
  patienceMs: number,
): Promise<number | undefined> {
  const began = performance.now();
  let [steady, since, passed] = [0, 0, await directBytes(scenario.lab)];
  while (performance.now() - began < patienceMs) {
    await pause(LOOK_EVERY_MS);
    const now = await directBytes(scenario.lab);
    const flows = now.every((bytes, direction) => bytes - passed[direction]! >= BLOCK_BYTES);
    passed = now;
    steady = flows && isDirect(scenario, connect) ? steady + 1 : 0;
    if (steady === 1) since = performance.now();
    if (steady === STEADY_LOOKS) return Math.round(since - began);
  }
  return undefined;
}

async function directBytes(lab: Lab): Promise<number[]> {
  const { udp, tcp } = (await lab.natCounters('a')).direct;
  return [udp.sent.bytes + tcp.sent.bytes, udp.received.bytes + tcp.received.bytes];
}

function isDirect(scenario: Scenario, connect: RunningCommand): boolean {
  return [connect, scenario.up].every(({ events }) => {
    const active = events.findLast(({ event, state }) => event === 'path' && state === 'active');
    return active?.['direct'] === true;
  });
}

function isPathChange({ event, state }: CommandEvent): boolean {
  return event === 'path' && state !== 'active';
}

/** Sends random blocks at a steady pace, and compares what comes back. */
class Echo {
  readonly #connect: RunningCommand;
  readonly #sent = createHash('sha256').update('x');
  readonly #received = createHash('sha256');
  #sentBytes = 1;
  #receivedBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  /** The first byte, an x, is on its way already. */
  constructor(connect: RunningCommand) {
    this.#connect = connect;
    this.#take(Buffer.concat(connect.stdoutSoFar));
    connect.child.stdout!.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  start(): void {
    this.#timer = setInterval(() => {
      const block = randomBytes(BLOCK_BYTES);
      this.#sent.update(block);
      this.#sentBytes += block.length;
      this.#connect.child.stdin!.write(block);
    }, BLOCK_EVERY_MS);
  }

  async finish(): Promise<boolean> {
    clearInterval(this.#timer);
    const until = performance.now() + 20_000;
    while (this.#receivedBytes < this.#sentBytes && performance.now() < until) await pause(50);
    return this.#sent.digest('hex') === this.#received.digest('hex');
  }

  #take(chunk: Buffer): void {
    this.#received.update(chunk);
    this.#receivedBytes += chunk.length;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
