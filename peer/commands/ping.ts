import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { durationBetween, integerBetween, stopSignal } from '../../src/cli/run.ts';
import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import type { Session } from '../session.ts';
import {
  connectTo,
  endFailure,
  parsePaths,
  reporterOf,
  shortId,
  startPeer,
  withPeerOptions,
  type DialOptions,
} from './shared.ts';

interface PingOptions extends DialOptions {
  count: number;
  interval: number;
}

interface Reply {
  readonly rttMs: number;
  readonly kind: string;
  readonly direct: boolean;
}

const REPLY_TIMEOUT_MS = 5_000;

/** `peer ping`: round trips to a peer, each with the path that it took. */
export function addPingCommand(program: Command): void {
  withPeerOptions(
    program
      .command('ping')
      .argument('<id|name>', 'the peer to ping')
      .description('measure round trips, and by which path'),
  )
    .option('-c, --count <n>', 'how many', integerBetween(1, 1_000_000), 4)
    .option(
      '-i, --interval <duration>',
      'from one to the next, such as 2s or 500ms; a number alone is milliseconds',
      durationBetween(0, 3_600_000, 'ms'),
      1_000,
    )
    .option('--paths <kinds>', 'restrict which kinds of path may be used: udp,tcp,relay', parsePaths)
    .option('--accept', 'trust a name that was not met before')
    .action(ping);
}

async function ping(to: string, options: PingOptions): Promise<void> {
  const reporter = reporterOf(options);
  const stop = stopSignal();
  const peer = await startPeer(options, reporter, { role: 'dial', signal: stop });
  try {
    const session = await connectTo(peer, to, options, reporter, stop);
    const replies: Reply[] = [];
    let sent = 0;
    const over = endOf(session, stop);
    while (sent < options.count && !over.aborted) {
      const reply = await replyOf(session, over);
      if (!reply && over.aborted) break; // it might still have come
      sent += 1;
      if (!options.json) process.stdout.write(`${replyWords(session.peer, reply, replies.at(-1))}\n`);
      if (reply) replies.push(reply);
      if (sent < options.count) await sleep(options.interval, undefined, { signal: over }).catch(() => {});
    }
    reporter.report(
      { peer: session.peer, sent, received: replies.length, replies, ...summary(replies) },
      summaryWords(sent, replies),
    );
    if (session.end && !stop.aborted) throw endFailure(session.end);
    if (replies.length === 0 && !stop.aborted) throw new SallyportError('TIMEOUT', 'the peer did not answer');
  } finally {
    await peer.close();
  }
}

/** Aborted when the command is stopped, with the session, or with whoever reads the replies: `peer ping … | head -3`. */
function endOf(session: Session, stop: AbortSignal): AbortSignal {
  const over = new AbortController();
  const end = () => over.abort();
  stop.addEventListener('abort', end);
  session.once('closed', end);
  process.stdout.once('error', end);
  if (stop.aborted || session.end) end();
  return over.signal;
}

async function replyOf(session: Session, signal: AbortSignal): Promise<Reply | undefined> {
  try {
    const { rttMs, path } = await session.ping({ timeoutMs: REPLY_TIMEOUT_MS, signal });
    return { rttMs: Math.round(rttMs * 100) / 100, kind: path.kind, direct: path.direct };
  } catch (thrown) {
    // Of a session that has ended the summary comes first.
    if (session.end || ['TIMEOUT', 'NO_PATH', 'ABORTED'].includes(asSallyportError(thrown).code))
      return undefined;
    throw thrown;
  }
}

function replyWords(peer: string, reply: Reply | undefined, before: Reply | undefined): string {
  if (!reply) return `no reply from ${shortId(peer)}`;
  const change = before && before.kind !== reply.kind ? `  ← the path has changed, from ${before.kind}` : '';
  const way = `${reply.kind}${reply.direct ? '' : ' (relayed)'}`;
  return `reply from ${shortId(peer)} by ${way}: ${reply.rttMs} ms${change}`;
}

function summary(replies: readonly Reply[]): { minMs?: number; averageMs?: number; maxMs?: number } {
  if (replies.length === 0) return {};
  const times = replies.map(({ rttMs }) => rttMs);
  const averageMs = Math.round((100 * times.reduce((sum, ms) => sum + ms, 0)) / times.length) / 100;
  return { minMs: Math.min(...times), averageMs, maxMs: Math.max(...times) };
}

function summaryWords(sent: number, replies: readonly Reply[]): string {
  const { minMs, averageMs, maxMs } = summary(replies);
  const times = replies.length > 0 ? `; min ${minMs} ms, average ${averageMs} ms, max ${maxMs} ms` : '';
  return `${sent} sent, ${replies.length} received${times}`;
}
