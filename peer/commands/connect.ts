import type { Command } from 'commander';
import { stopSignal } from '../../src/cli/run.ts';
import type { Reporter } from '../../src/cli/reporter.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { looksLikeInvite } from '../../src/core/invite.ts';
import type { StreamPurpose } from '../../src/core/protocol/open.ts';
import {
  parseDynamic,
  parseLocal,
  parseRemote,
  parseTarget,
  type DynamicSpec,
  type LocalSpec,
  type RemoteSpec,
} from '../services/forward-spec.ts';
import { forwardWords, startForwards, type RunningForward } from '../services/forwards.ts';
import { splice } from '../services/splice.ts';
import { pipeFailure, standardPipe } from '../services/stdio.ts';
import type { Peer } from '../peer.ts';
import type { Session } from '../session.ts';
import { reportStream } from './audit.ts';
import { acceptInvite, meetingPlace } from './invite.ts';
import {
  endFailure,
  explain,
  parsePaths,
  patiently,
  reporterOf,
  startPeer,
  withPeerOptions,
  type DialOptions,
} from './shared.ts';
import { answerStatus } from './status.ts';

interface ConnectCommandOptions extends DialOptions {
  L: LocalSpec[];
  R: RemoteSpec[];
  D: DynamicSpec[];
  W?: StreamPurpose;
  explain?: boolean;
}

/** `peer connect`: forwards, a target on stdin and stdout, or the other side's pipe. */
export function addConnectCommand(program: Command): void {
  const collect =
    <T>(parse: (text: string) => T) =>
    (text: string, before: T[]) => [...before, parse(text)];
  withPeerOptions(
    program
      .command('connect')
      .argument('<id|name|invite>', 'the peer to connect to, or what its `peer invite` printed')
      .description("connect; without forwards, join stdin and stdout to the other side's --pipe"),
  )
    .option(
      '-L <[bind:]port:host:port|service|/path[/udp]>',
      'listen here, dial there; /path:… listens on a Unix socket (repeatable)',
      collect(parseLocal),
      [],
    )
    .option(
      '-R <[bind:]port:host:port|/path[/udp]>',
      'listen there, dial here (repeatable)',
      collect(parseRemote),
      [],
    )
    .option('-D <[bind:]port>', 'SOCKS5 here, dial there (repeatable)', collect(parseDynamic), [])
    .option('-W <host:port|service|/path>', 'stdin and stdout to a target there', parseTarget)
    .option('--paths <kinds>', 'restrict which kinds of path may be used: udp,tcp,relay', parsePaths)
    .option('--explain', 'print the traversal trace')
    .option('--accept', 'trust a name that was not met before')
    .action(connect);
}

async function connect(to: string, options: ConnectCommandOptions): Promise<void> {
  const specs = { local: options.L, remote: options.R, dynamic: options.D };
  const forwarding = Object.values(specs).some(({ length }) => length > 0);
  if (options.W && forwarding) {
    throw new SallyportError('USAGE', '-W and -L, -R or -D do not go together', {
      hint: '-W takes stdin and stdout for one target',
    });
  }
  const reporter = reporterOf(options);
  const stop = stopSignal();
  const meet = (peer: Peer): Promise<Session> => {
    if (options.explain) peer.on('session', (session) => explain(session, reporter));
    peer.on('stream', (record) => reportStream(record, reporter));
    const { paths, accept: acceptName } = options;
    return looksLikeInvite(to)
      ? acceptInvite(peer, to, { paths, signal: stop }, reporter)
      : peer.connect(to, { paths, signal: stop, acceptName });
  };
  let meeting: Promise<Session> | undefined;
  const more = { role: 'dial', signal: stop } as const;
  const peer = await startPeer({ ...options, ...meetingPlace(to) }, reporter, more, (opened) => {
    meeting = meet(opened);
    meeting.catch(() => {}); // told below, unless the registration itself fails
  });
  let forwards: RunningForward[] = [];
  const reports = () => forwards.map(({ type, listen, target }) => ({ type, listen, target }));
  const agent = await answerStatus(peer, 'connect', reports, reporter);
  try {
    const session = await patiently('peer', meeting!, reporter);
    if (forwarding) {
      const ready = (forward: RunningForward) => reportForward(forward, reporter);
      const tell = sparingly(reporter);
      // Whatever fails since the session has ended fails by that, of which the command itself tells.
      const failed = (error: SallyportError) => session.end ?? tell(error);
      forwards = await startForwards(specs, session, ready, failed);
      await untilEnded(session, stop);
    } else {
      await joinStandardPipe(session, options.W ?? { for: 'pipe' }, stop);
    }
  } finally {
    await Promise.all(forwards.map((forward) => forward.close()));
    await agent?.close();
    await peer.close();
  }
}

function reportForward(forward: RunningForward, reporter: Reporter): void {
  const { type, listen, target } = forward;
  reporter.event('forward', { type, listen, target }, forwardWords(forward));
}

/** Tells of a failure once while it repeats: a browser, or a forward that leads back to itself, makes a hundred alike at once. */
function sparingly(reporter: Reporter): (error: SallyportError) => void {
  let last: { words: string; at: number } | undefined;
  return (error) => {
    const words = `${error.code} ${error.message}`;
    const at = performance.now();
    if (last?.words !== words || at - last.at > REPEAT_MS) reporter.error(error);
    last = { words, at };
  };
}

const REPEAT_MS = 1_000;

/** Ends when both directions have. */
async function joinStandardPipe(session: Session, purpose: StreamPurpose, stop: AbortSignal): Promise<void> {
  const stream = await session.openPurpose(purpose);
  const stopped = () => stream.destroy(stop.reason as Error);
  stop.addEventListener('abort', stopped);
  await splice(standardPipe(), stream).catch((thrown: unknown) => {
    throw pipeFailure(thrown);
  });
}

/** Resolves when stopped; rejects when the session ends by itself, since with it the forwards do. */
async function untilEnded(session: Session, stop: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stop.addEventListener('abort', () => resolve());
    const ended = () => reject(endFailure(session.end!));
    session.once('closed', ended);
    if (session.end) ended();
    if (stop.aborted) resolve();
  });
}
