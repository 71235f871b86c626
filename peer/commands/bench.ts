import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { integerBetween, stopSignal } from '../../src/cli/run.ts';
import { asSallyportError, SallyportError, type ErrorCode } from '../../src/core/errors.ts';
import type { PathRequest } from '../../src/core/punch/situation.ts';
import type { Peer } from '../peer.ts';
import { measureDown, measureUp, type Throughput } from '../services/bench.ts';
import type { Session } from '../session.ts';
import { parsePaths, reporterOf, startPeer, withPeerOptions, type SharedOptions } from './shared.ts';

interface BenchOptions extends SharedOptions {
  paths?: PathRequest[];
  seconds: number;
  accept?: boolean;
}

interface Latency {
  readonly count: number;
  readonly medianMs: number;
  readonly p99Ms: number;
}

/** What one session came to. `path` is the kind that it was on at the end of the measurement. */
interface Result {
  readonly asked: readonly PathRequest[];
  readonly path?: string | undefined;
  readonly idle?: Latency;
  readonly up?: Rate;
  readonly down?: Rate;
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

interface Rate {
  readonly bytes: number;
  readonly milliseconds: number;
  readonly mbitPerSecond: number;
  /** Round trips while it went on. */
  readonly latency: Latency;
}

const DIRECT_MS = 10_000;
const IDLE_PINGS = 20;
const PING_EVERY_MS = 50;
const PING_TIMEOUT_MS = 10_000;

/** `peer bench`: what a session with a peer can carry, and what that does to its latency. */
export function addBenchCommand(program: Command): void {
  withPeerOptions(
    program
      .command('bench')
      .argument('<id|name>', 'a peer that runs `peer up`')
      .description('throughput both ways, and latency idle and under load'),
  )
    .option('--paths <kinds>', 'measure each of these kinds of path in a session of its own', parsePaths)
    .option('--seconds <n>', 'for each direction', integerBetween(1, 30), 3)
    .option('--accept', 'trust a name that was not met before')
    .action(bench);
}

async function bench(to: string, options: BenchOptions): Promise<void> {
  const reporter = reporterOf(options);
  const stop = stopSignal();
  const peer = await startPeer(options, reporter, { role: 'dial', signal: stop });
  const choices: PathRequest[][] = options.paths?.map((kind) => [kind]) ?? [['udp', 'tcp', 'relay']];
  const results: Result[] = [];
  try {
    for (const asked of choices) results.push(await resultOf(peer, to, asked, options, stop));
  } finally {
    await peer.close();
  }
  reporter.report({ peer: to, seconds: options.seconds, results }, results.map(words).join('\n'));
  const [failure] = results.flatMap(({ error }) => error ?? []);
  if (failure && results.every(({ error }) => error)) {
    throw new SallyportError(failure.code, failure.message);
  }
}

/** A kind of path that can't be had is a result as well. */
async function resultOf(
  peer: Peer,
  to: string,
  asked: PathRequest[],
  { seconds, accept }: BenchOptions,
  signal: AbortSignal,
): Promise<Result> {
  let session: Session | undefined;
  try {
    session = await peer.connect(to, { paths: asked, signal, acceptName: accept });
    const direct = asked.some((kind) => !kind.startsWith('relay'));
    if (direct) await session.whenDirect({ timeout: DIRECT_MS, signal }).catch(() => {});
    const stopped = () => session?.driver.destroy('ABORTED', 'stopped');
    signal.addEventListener('abort', stopped);
    const idle = await idleLatency(session);
    const up = await underLoad(session, measureUp(session, seconds * 1_000));
    const down = await underLoad(session, measureDown(session, seconds * 1_000));
    signal.removeEventListener('abort', stopped);
    return { asked, path: session.path?.kind, idle, up, down };
  } catch (thrown) {
    if (signal.aborted) throw signal.reason;
    const { code, message } = asSallyportError(thrown);
    return { asked, error: { code, message } };
  } finally {
    await session?.close();
  }
}

async function idleLatency(session: Session): Promise<Latency> {
  const times: number[] = [];
  for (let n = 0; n < IDLE_PINGS; n++) {
    times.push((await session.ping({ timeoutMs: PING_TIMEOUT_MS })).rttMs);
  }
  return latencyOf(times);
}

async function underLoad(session: Session, load: Promise<Throughput>): Promise<Rate> {
  const times: number[] = [];
  const ended = new AbortController();
  const pinging = (async () => {
    while (!ended.signal.aborted) {
      const answer = session.ping({ timeoutMs: PING_TIMEOUT_MS }).catch(() => undefined);
      times.push((await answer)?.rttMs ?? PING_TIMEOUT_MS);
      await sleep(PING_EVERY_MS);
    }
  })();
  try {
    const { bytes, milliseconds } = await load;
    const mbitPerSecond = Math.round((8 * bytes) / milliseconds / 10) / 100;
    return { bytes, milliseconds: Math.round(milliseconds), mbitPerSecond, latency: latencyOf(times) };
  } finally {
    ended.abort();
    await pinging;
  }
}

function latencyOf(times: readonly number[]): Latency {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) =>
    Math.round(100 * (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0)) / 100;
  return { count: sorted.length, medianMs: at(0.5), p99Ms: at(0.99) };
}

function words({ asked, path, idle, up, down, error }: Result): string {
  if (error) return `${asked.join(', ')}: ${error.code}: ${error.message}`;
  const rate = ({ mbitPerSecond, latency }: Rate) =>
    `${mbitPerSecond} Mbit/s (round trip meanwhile ${latency.medianMs} ms, 99 % under ${latency.p99Ms} ms)`;
  return `${path}: round trip ${idle!.medianMs} ms idle\n  up   ${rate(up!)}\n  down ${rate(down!)}`;
}
