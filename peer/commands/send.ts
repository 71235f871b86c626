import type { Command } from 'commander';
import { stopSignal } from '../../src/cli/run.ts';
import type { Reporter } from '../../src/cli/reporter.ts';
import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import { printable } from '../../src/core/remote-failure.ts';
import { gather, type Entry } from '../files/gather.ts';
import { bytesText, Progress } from '../files/progress.ts';
import { FILES_SERVICE } from '../files/receiver.ts';
import { sendFiles, type FileOutcome } from '../files/send.ts';
import type { Session } from '../session.ts';
import { connectTo, parsePaths, reporterOf, startPeer, withPeerOptions, type DialOptions } from './shared.ts';

/** `peer send`: files and folders to a peer that runs `peer receive`. */
export function addSendCommand(program: Command): void {
  withPeerOptions(
    program
      .command('send')
      .argument('<id|name>', 'the peer to send to')
      .argument('<files...>', 'files and folders')
      .description('send files and folders; run it again after a failure, and it goes on where it stopped'),
  )
    .option('--paths <kinds>', 'restrict which kinds of path may be used: udp,tcp,relay', parsePaths)
    .option('--accept', 'trust a name that was not met before')
    .action(send);
}

async function send(to: string, named: string[], options: DialOptions): Promise<void> {
  const reporter = reporterOf(options);
  const stop = stopSignal({ finishes: true });
  const unread: FileOutcome[] = [];
  const entries = await gather(named, {
    signal: stop,
    onSkipped: (path) =>
      reporter.event('skipped', { path }, `left out, neither a file nor a folder: ${printable(path)}`),
    onFailed: (source, error) =>
      unread.push({ path: printable(source), state: 'failed', bytes: 0, resumedAt: 0, error }),
  });
  for (const outcome of unread) tellOutcome(outcome, reporter);
  const peer = await startPeer(options, reporter, { role: 'dial', signal: stop });
  try {
    const session = await connectTo(peer, to, options, reporter, stop);
    await transfer(session, { entries, unread }, reporter, stop);
  } finally {
    await peer.close();
  }
}

async function transfer(
  session: Session,
  { entries, unread }: { entries: readonly Entry[]; unread: readonly FileOutcome[] },
  reporter: Reporter,
  stop: AbortSignal,
) {
  const all = entries.length + unread.length;
  const total = entries.reduce((sum, { size }) => sum + size, 0);
  const stream = await session.open(FILES_SERVICE, { signal: stop });
  stream.on('error', () => {}); // told by sendFiles
  const progress = new Progress(reporter, session, total);
  const outcomes = [...unread];
  const onOutcome = (outcome: FileOutcome) => {
    outcomes.push(outcome);
    progress.wentOn();
    tellOutcome(outcome, reporter);
  };
  try {
    await sendFiles(stream, entries, {
      onBytes: (count, sent) => progress.add(count, sent),
      onResized: (change) => progress.resize(change),
      onOutcome,
    });
  } catch (thrown) {
    throw goOnLater(asSallyportError(thrown), stop);
  } finally {
    const { moved, elapsedMs, rate } = progress.stop();
    const count = outcomes.filter(({ state }) => state !== 'failed').length;
    const words = `${count} of ${all} in place, ${bytesText(moved)} sent in ${(elapsedMs / 1_000).toFixed(1)} s (${bytesText(rate)}/s)`;
    const fields = { entries: all, inPlace: count, bytes: moved, total };
    reporter.event('sent', { ...fields, elapsedMs: Math.round(elapsedMs), path: session.path?.kind }, words);
  }
  const [first, ...others] = outcomes.flatMap(({ error }) => error ?? []);
  if (first && others.length === 0) throw first;
  if (first) {
    const message = `${others.length + 1} of ${all} were not sent; the first: ${first.message}`;
    throw new SallyportError(first.code, message, { hint: first.hint, cause: first });
  }
}

/** One line for each file to scripts; people are told of what failed. */
export function tellOutcome({ error, ...outcome }: FileOutcome, reporter: Reporter): void {
  const message = error && printable(error.message); // a file's name may hold anything
  reporter.event('file', { ...outcome, code: error?.code, message }, error && `failed: ${message}`);
}

function goOnLater(error: SallyportError, stop: AbortSignal): SallyportError {
  const { code, message } = stop.aborted ? (stop.reason as SallyportError) : error;
  if (code === 'NOT_AUTHORIZED') return error;
  if (code === 'DISK_FULL') {
    const hint = 'once there is room, run it again, and it goes on where it stopped';
    return new SallyportError(code, `${message} over there`, { hint, cause: error });
  }
  if (code !== 'SERVICE_UNKNOWN') {
    const hint = 'run it again, and it goes on where it stopped';
    return new SallyportError(code, message, { hint, cause: error });
  }
  const hint = 'there: peer receive, or peer up --receive DIR';
  return new SallyportError(code, 'the other side takes no files', { hint });
}
