import type { Command } from 'commander';
import { finished } from 'node:stream/promises';
import { stopSignal } from '../../src/cli/run.ts';
import type { Reporter } from '../../src/cli/reporter.ts';
import { BENCH_SERVICE } from '../../src/core/protocol/bench.ts';
import { AgentSocket } from '../agent-socket.ts';
import { parseAllowRule } from '../allow-list.ts';
import { parseExposure, type Exposure } from '../exposure.ts';
import { parsePermit, type ListenPermit } from '../listen-permit.ts';
import { TargetFolder } from '../files/folder.ts';
import type { Peer } from '../peer.ts';
import { BenchService } from '../services/bench.ts';
import { pipeFailure, standardPipe } from '../services/stdio.ts';
import { reportStream } from './audit.ts';
import { configure } from './config.ts';
import { takeFiles } from './receive.ts';
import { explain, reporterOf, startPeer, withPeerOptions, type SharedOptions } from './shared.ts';
import { statusOf } from './status.ts';

interface UpOptions extends SharedOptions {
  name?: string;
  allow: string[];
  expose: Exposure[];
  permitListen: ListenPermit[];
  pipe?: boolean;
  receive?: string;
  explain?: boolean;
}

/** `peer up`: stay reachable until stopped. */
export function addUpCommand(program: Command): void {
  const collect =
    <T>(parse: (text: string) => T) =>
    (text: string, before: T[]) => [...before, parse(text)];
  const checkedRule = (text: string) => {
    parseAllowRule(text);
    return text;
  };
  withPeerOptions(program.command('up').description('stay reachable until stopped'))
    .option('--name <name>', 'a name under which others may find this peer')
    .option(
      '--allow <id|any|id=service,…>',
      'let a peer open sessions here (repeatable)',
      collect(checkedRule),
      [],
    )
    .option(
      '--expose <[name=]host:port[/udp]|[name=]/path|any>',
      'what others may reach (repeatable)',
      collect(parseExposure),
      [],
    )
    .option(
      '--permit-listen <[bind:]port>',
      'where peers may have this one listen, for their -R; port "any" for any (repeatable)',
      collect(parsePermit),
      [],
    )
    .option('--receive <folder>', 'take files into this folder, as `peer receive` does')
    .option('--pipe', "join this command's stdin and stdout to whoever connects")
    .option('--explain', "print every session's traversal trace")
    .action(up);
}

async function up(options: UpOptions, command: Command): Promise<void> {
  const reporter = reporterOf(options);
  const stop = stopSignal();
  const folder = options.receive === undefined ? undefined : await TargetFolder.open(options.receive);
  const peer = await startPeer(options, reporter, {
    role: 'listen',
    allow: options.allow,
    name: options.name,
    signal: stop,
  });
  if (options.explain) peer.on('session', (session) => explain(session, reporter));
  for (const exposure of options.expose) peer.addExposure(exposure);
  for (const permit of options.permitListen) peer.permitListen(permit);
  const pipeDone = options.pipe ? offerStandardPipe(peer) : undefined;
  peer.handle(BENCH_SERVICE, new BenchService().handle);
  if (folder) takeFiles(peer, folder, reporter);
  peer.on('stream', (record) => reportStream(record, reporter));
  peer.on('guest', (guest) =>
    reporter.event('guest', { peer: guest }, `${guest} has used an invite, and is allowed from now on`),
  );
  const reload = () => void reconfigure(peer, command, reporter);
  process.on('SIGHUP', reload);
  const agent = await AgentSocket.listen(peer.home.agentsFolder, () => statusOf(peer, 'up', []));
  reporter.event('up', { id: peer.id }, `this peer is ${reporter.paint('bold', peer.id)}`);
  try {
    await untilStopped(peer, stop, pipeDone);
  } finally {
    process.off('SIGHUP', reload);
    await agent.close();
    await peer.close();
  }
}

/** SIGHUP: the configuration file is read again. One that can't be used changes nothing. */
async function reconfigure(peer: Peer, command: Command, reporter: Reporter): Promise<void> {
  try {
    await configure(command);
    const { allow, expose, permitListen } = command.opts<UpOptions>();
    peer.reconfigure({ allow, exposures: expose, permits: permitListen });
    reporter.event('reloaded', {}, 'the configuration was read again');
  } catch (thrown) {
    reporter.error(thrown);
  }
}

async function untilStopped(
  peer: Peer,
  stop: AbortSignal,
  pipeDone: Promise<void> | undefined,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stop.addEventListener('abort', () => resolve());
    if (stop.aborted) resolve();
    peer.on('error', reject);
    pipeDone?.then(resolve, reject);
  });
}

/** Resolves when the one pipe that this process has was used to its end. */
async function offerStandardPipe(peer: Peer): Promise<void> {
  const pipe = standardPipe();
  let taken = false;
  peer.offerPipe(() => {
    if (taken) return undefined;
    taken = true;
    return pipe;
  });
  await finished(pipe).catch((thrown: unknown) => {
    throw pipeFailure(thrown);
  });
}
