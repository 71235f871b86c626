import type { Command } from 'commander';
import { stopSignal } from '../../src/cli/run.ts';
import type { Reporter } from '../../src/cli/reporter.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { looksLikeInvite } from '../../src/core/invite.ts';
import { purposeText, type StreamPurpose } from '../../src/core/protocol/open.ts';
import { remoteFailure } from '../../src/core/remote-failure.ts';
import type { PathChoice } from '../../src/core/punch/situation.ts';
import { AgentSocket } from '../agent-socket.ts';
import { Forward, parseForward, parseTarget, type ForwardSpec } from '../services/forward.ts';
import { splice } from '../services/splice.ts';
import { pipeFailure, standardPipe } from '../services/stdio.ts';
import type { Session } from '../session.ts';
import { acceptInvite, meetingPlace } from './invite.ts';
import { explain, parsePaths, reporterOf, startPeer, withPeerOptions, type SharedOptions } from './shared.ts';
import { statusOf } from './status.ts';

interface ConnectCommandOptions extends SharedOptions {
  L: ForwardSpec[];
  W?: StreamPurpose;
  paths?: PathChoice[];
  explain?: boolean;
  accept?: boolean;
}

/** `peer connect`: forwards, a target on stdin and stdout, or the other side's pipe. */
export function addConnectCommand(program: Command): void {
  withPeerOptions(
    program
      .command('connect')
      .argument('<id|name|invite>', 'the peer to connect to, or what its `peer invite` printed')
      .description("connect; without forwards, join stdin and stdout to the other side's --pipe"),
  )
    .option(
      '-L <[bind:]port:host:port|service>',
      'listen here, dial there (repeatable)',
      (text: string, before: ForwardSpec[]) => [...before, parseForward(text)],
      [],
    )
    .option('-W <host:port|service>', 'stdin and stdout to a target there', parseTarget)
    .option('--paths <kinds>', 'restrict which kinds of path may be used: udp,tcp,relay', parsePaths)
    .option('--explain', 'print the traversal trace')
    .option('--accept', 'trust a name that was not met before')
    .action(connect);
}

async function connect(to: string, options: ConnectCommandOptions): Promise<void> {
  if (options.W && options.L.length > 0) {
    throw new SallyportError('USAGE', '-W and -L do not go together', {
      hint: '-W takes stdin and stdout for one target',
    });
  }
  const reporter = reporterOf(options);
  const stop = stopSignal();
  const peer = await startPeer({ ...options, ...meetingPlace(to) }, reporter, {
    role: 'dial',
    signal: stop,
  });
  if (options.explain) peer.on('session', (session) => explain(session, reporter));
  let forwards: Forward[] = [];
  const agent = await AgentSocket.listen(peer.home.agentsFolder, () =>
    statusOf(
      peer,
      'connect',
      forwards.map(({ listen }) => listen),
    ),
  );
  try {
    const terms = { paths: options.paths, signal: stop };
    const session = looksLikeInvite(to)
      ? await acceptInvite(peer, to, terms)
      : await peer.connect(to, { ...terms, acceptName: options.accept });
    if (options.L.length > 0) {
      forwards = await startForwards(options.L, session, reporter);
      await untilEnded(session, stop);
    } else {
      await joinStandardPipe(session, options.W ?? { for: 'pipe' }, stop);
    }
  } finally {
    await Promise.all(forwards.map((forward) => forward.close()));
    await agent.close();
    await peer.close();
  }
}

async function startForwards(
  specs: readonly ForwardSpec[],
  session: Session,
  reporter: Reporter,
): Promise<Forward[]> {
  const started: Forward[] = [];
  try {
    for (const spec of specs) {
      const forward = await Forward.start(spec, session, (error) => reporter.error(error));
      const { listen } = forward;
      const target = purposeText(spec.purpose);
      started.push(forward);
      reporter.event('forward', { listen, target }, `forwarding ${listen} to ${target}`);
    }
  } catch (thrown) {
    await Promise.all(started.map((forward) => forward.close()));
    throw thrown;
  }
  return started;
}

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
    const ended = () => {
      const { code, message } = session.end!;
      reject(
        remoteFailure(code ?? 'SESSION_CLOSED', code ? message : 'the other side has closed the session'),
      );
    };
    session.once('closed', ended);
    if (session.end) ended();
    if (stop.aborted) resolve();
  });
}
