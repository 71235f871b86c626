import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { integerBetween, stopSignal } from '../../src/cli/run.ts';
import type { Reporter } from '../../src/cli/reporter.ts';
import { asSallyportError, type ErrorCode } from '../../src/core/errors.ts';
import { remoteFailure } from '../../src/core/remote-failure.ts';
import type { PathRequest } from '../../src/core/punch/situation.ts';
import type { Peer } from '../peer.ts';
import { measureDown, measureUp, type Throughput } from '../services/bench.ts';
import type { Session } from '../session.ts';
import {
  connectTo,
  parsePaths,
  patiently,
  reporterOf,
  startPeer,
  withPeerOptions,
  type DialOptions,
} from './shared.ts';

interface BenchOptions extends DialOptions {
  seconds: number;
}

interface Latency {
  readonly count: number;
  readonly medianMs: number;
  readonly p99Ms: number;
}

/** What one session came to, as far as it got. `path` is the kind that it was on when it was measured last. */
interface Result {
  readonly asked: readonly PathRequest[];
  path?: string | undefined;
  idle?: Latency;
  up?: Rate;
  down?: Rate;
  error?: { readonly code: ErrorCode; readonly message: string };
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
  let id = to;
  peer.on('session', (session) => (id = session.peer));
  try {
    for (const asked of choices) {
      const result: Result = { asked };
      results.push(result);
      await measure(result, peer, to, options, reporter, stop);
      if (!options.json) process.stdout.write(words(result, { among: choices.length }));
    }
  } finally {
    await peer.close();
  }
  if (options.json) reporter.report({ peer: id, seconds: options.seconds, results }, '');
  const [failure] = results.flatMap(({ error }) => error ?? []);
  if (!failure || !results.every(({ error }) => error)) return;
  const alone = results.length === 1;
  throw remoteFailure(failure.code, alone ? failure.message : 'none of these paths could be measured');
}

/** A kind of path that can't be had is a result as well. */
async function measure(
  result: Result,
  peer: Peer,
  to: string,
  { seconds, accept }: BenchOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { asked } = result;
  let session: Session | undefined;
  const stopped = () => session?.driver.destroy('ABORTED', 'stopped');
  signal.addEventListener('abort', stopped);
  try {
    session = await connectTo(peer, to, { paths: asked, accept }, reporter, signal);
    const direct = asked.some((kind) => !kind.startsWith('relay'));
    if (direct) await session.whenDirect({ timeout: DIRECT_MS, signal }).catch(() => {});
    reporter.live('measuring round trips …');
    result.idle = await idleLatency(session, reporter);
    result.path = session.path?.kind;
    reporter.live(`measuring up, for ${seconds} s …`);
    result.up = await underLoad(session, measureUp(session, seconds * 1_000), reporter);
    result.path = session.path?.kind;
    reporter.live(`measuring down, for ${seconds} s …`);
    result.down = await underLoad(session, measureDown(session, seconds * 1_000), reporter);
    result.path = session.path?.kind;
  } catch (thrown) {
    if (signal.aborted) throw signal.reason;
    const { code, message } = asSallyportError(thrown);
    result.error = { code, message };
  } finally {
    signal.removeEventListener('abort', stopped);
    reporter.endLive();
    await session?.close();
  }
}

async function idleLatency(session: Session, reporter: Reporter): Promise<Latency> {
  const times: number[] = [];
  for (let n = 0; n < IDLE_PINGS; n++) {
    const answer = session.ping({ timeout: PING_TIMEOUT_MS });
    times.push((await patiently('peer', answer, reporter)).rttMs);
  }
  return latencyOf(times);
}

async function underLoad(session: Session, load: Promise<Throughput>, reporter: Reporter): Promise<Rate> {
  const times: number[] = [];
  const ended = new AbortController();
  let told = false;
  const pinging = (async () => {
    while (!ended.signal.aborted) {
      const answer = await session.ping({ timeout: PING_TIMEOUT_MS }).catch(() => undefined);
      if (!answer && !told && !ended.signal.aborted) {
        told = true; // the load may wait until the session's time is over
        reporter.event('waiting', { for: 'peer' }, 'no answer from the peer; going on if it comes back');
      }
      times.push(answer?.rttMs ?? PING_TIMEOUT_MS);
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

/** What one choice came to. Where there is but one, what it fails with is what the command fails with, and told then. */
function words({ asked, path, idle, up, down, error }: Result, { among }: { among: number }): string {
  const failure = error && among > 1 ? `${error.code}: ${error.message}` : undefined;
  if (!idle) return failure === undefined ? '' : `${asked.join(', ')}: ${failure}\n`;
  const rate = (way: string, measured: Rate | undefined) => {
    if (!measured) return [];
    const { mbitPerSecond, latency } = measured;
    return `  ${way} ${mbitPerSecond} Mbit/s (round trip meanwhile ${latency.medianMs} ms, 99 % under ${latency.p99Ms} ms)`;
  };
  const lines = [`${path}: round trip ${idle.medianMs} ms idle`, rate('up  ', up), rate('down', down)];
  return `${[...lines.flat(), ...(failure === undefined ? [] : [`  ${failure}`])].join('\n')}\n`;
}
