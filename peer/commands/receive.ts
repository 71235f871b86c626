import type { Command } from 'commander';
import { stopSignal } from '../../src/cli/run.ts';
import type { Reporter } from '../../src/cli/reporter.ts';
import { parsePeerName } from '../../src/core/peer-name.ts';
import { parseAllowRule } from '../allow-list.ts';
import { TargetFolder } from '../files/folder.ts';
import { bytesText, Progress } from '../files/progress.ts';
import { FileReceiver, FILES_SERVICE, type ReceptionEvents } from '../files/receiver.ts';
import type { Peer } from '../peer.ts';
import type { Session } from '../session.ts';
import { reportStream } from './audit.ts';
import { tellOutcome } from './send.ts';
import {
  counted,
  leave,
  reporterOf,
  reportUp,
  shortId,
  onRefused,
  startPeer,
  withPeerOptions,
  type SharedOptions,
} from './shared.ts';
import { answerStatus } from './status.ts';

interface ReceiveOptions extends SharedOptions {
  dir: string;
  allow: string[];
  name?: string;
  overwrite?: boolean;
  once?: boolean;
}

/** `peer receive`: takes files from peers that are allowed. */
export function addReceiveCommand(program: Command): void {
  const rules = (text: string, before: string[]) => {
    parseAllowRule(text);
    return [...before, text];
  };
  withPeerOptions(
    program.command('receive').description('take files from peers that are allowed, until stopped'),
  )
    .option('--dir <folder>', 'where they go', '.')
    .option('--allow <id|any>', 'let a peer send files here (repeatable)', rules, [])
    .option('--name <name>', 'a name under which others may find this peer', parsePeerName)
    .option('--overwrite', 'replace files that exist already')
    .option('--once', 'end after the first transfer that is complete')
    .action(receive);
}

async function receive(options: ReceiveOptions): Promise<void> {
  const reporter = reporterOf(options);
  const stop = stopSignal();
  const folder = await TargetFolder.open(options.dir, { overwrite: options.overwrite });
  const { allow, name } = options;
  const peer = await startPeer(options, reporter, { role: 'listen', allow, name, signal: stop });
  peer.on('stream', (record) => reportStream(record, reporter));
  const agent = await answerStatus(peer, 'receive', () => [], reporter);
  const once = new Promise<void>((resolve) =>
    takeFiles(peer, folder, reporter, options.once ? resolve : undefined),
  );
  reportUp(peer, reporter);
  try {
    await new Promise<void>((resolve, reject) => {
      stop.addEventListener('abort', () => resolve());
      if (stop.aborted) resolve();
      onRefused(peer, reject);
      once.then(resolve, reject);
    });
  } finally {
    await agent?.close();
    await leave(peer);
  }
}

/** Lets peers that are allowed send files into a folder. */
export function takeFiles(
  peer: Peer,
  folder: TargetFolder,
  reporter: Reporter,
  onComplete?: () => void,
): void {
  const receiver = new FileReceiver(folder, (session) => watch(session, reporter, onComplete));
  peer.handle(FILES_SERVICE, receiver.handle);
}

function watch(session: Session, reporter: Reporter, onComplete: (() => void) | undefined): ReceptionEvents {
  const progress = new Progress(reporter, session);
  let files = 0;
  return {
    onBytes: (count, came) => progress.add(count, came),
    onOutcome: (outcome) => {
      if (outcome.state === 'saved') files += 1;
      tellOutcome(outcome, reporter);
    },
    onEnd: (error) => {
      const { moved, elapsedMs, rate } = progress.stop();
      const end = error ? `; broken off: ${error.message}` : '';
      const words = `${counted(files, 'file')} from ${shortId(session.peer)}, ${bytesText(moved)} (${bytesText(rate)}/s)${end}`;
      const fields = { peer: session.peer, files, bytes: moved, code: error?.code, message: error?.message };
      reporter.event('received', { ...fields, elapsedMs: Math.round(elapsedMs) }, words);
      if (!error) onComplete?.();
    },
  };
}
