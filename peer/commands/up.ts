import type { Command } from 'commander';
import { finished } from 'node:stream/promises';
import { stopSignal } from '../../src/cli/run.ts';
import type { Reporter } from '../../src/cli/reporter.ts';
import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import { parsePeerName } from '../../src/core/peer-name.ts';
import { BENCH_SERVICE } from '../../src/core/protocol/bench.ts';
import { parseAllowRule } from '../allow-list.ts';
import { collectExposure, type Exposure } from '../exposure.ts';
import { parsePermit, type ListenPermit } from '../listen-permit.ts';
import { TargetFolder } from '../files/folder.ts';
import type { Peer } from '../peer.ts';
import { BenchService } from '../services/bench.ts';
import { pipeFailure, standardPipe } from '../services/stdio.ts';
import { reportStream } from './audit.ts';
import { configure } from './config.ts';
import { takeFiles } from './receive.ts';
import {
  explain,
  leave,
  onRefused,
  reporterOf,
  reportUp,
  startPeer,
  withPeerOptions,
  type SharedOptions,
} from './shared.ts';
import { answerStatus } from './status.ts';

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
    .option('--name <name>', 'a name under which others may find this peer', parsePeerName)
    .option(
      '--allow <id|any|id=service,…>',
      'let a peer open sessions here (repeatable)',
      collect(checkedRule),
      [],
    )
    .option(
      '--expose <[name=]host:port[/udp]|[name=]/path|any>',
      'what others may reach (repeatable)',
      collectExposure,
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
  let isAsked = false; // to reload, before there is a peer
  let reload: () => void = () => (isAsked = true);
  const stop = stopSignal({ reload: () => reload() });
  const folder = options.receive === undefined ? undefined : await TargetFolder.open(options.receive);
  const peer = await startPeer(options, reporter, {
    role: 'listen',
    allow: options.allow,
    name: options.name,
    signal: stop,
  });
  peer.on('session', (session) => {
    if (command.opts<UpOptions>().explain) explain(session, reporter);
  });
  peer.handleByDefault(BENCH_SERVICE, new BenchService().handle);
  for (const exposure of options.expose) peer.addExposure(exposure);
  for (const permit of options.permitListen) peer.permitListen(permit);
  const pipeDone = options.pipe ? offerStandardPipe(peer) : undefined;
  if (folder) takeFiles(peer, folder, reporter);
  peer.on('stream', (record) => reportStream(record, reporter));
  peer.on('guest', (guest) =>
    reporter.event('guest', { peer: guest }, `${guest} has used an invite, and is allowed from now on`),
  );
  reload = reloader(peer, command, reporter);
  const agent = await answerStatus(peer, 'up', () => [], reporter);
  reportUp(peer, reporter);
  if (isAsked) reload();
  try {
    await untilStopped(peer, stop, pipeDone);
  } finally {
    reload = () => {};
    await agent?.close();
    await leave(peer);
  }
}

/** What SIGHUP changes while sessions go on; the rest is needed to register, or would end them. */
const RELOADED = new Set(['allow', 'expose', 'permit-listen', 'explain', 'quiet', 'verbose']);

/** Reads the configuration file again. One that can't be used, be it at the next start, changes nothing. */
function reloader(peer: Peer, command: Command, reporter: Reporter): () => void {
  const started = valuesOf(command);
  let last = started;
  const reload = async () => {
    await configure(command);
    const { allow, expose, permitListen, ...level } = command.opts<UpOptions>();
    peer.reconfigure({ allow, exposures: expose, permits: permitListen });
    reporter.setLevel(level);
    const now = valuesOf(command);
    const differs = (before: Map<string, string>) =>
      [...now.keys()].filter((name) => before.get(name) !== now.get(name));
    const changed = differs(last).filter((name) => RELOADED.has(name));
    const restart = differs(started).filter((name) => !RELOADED.has(name));
    last = now;
    reporter.event('reloaded', { changed, restart }, reloadedWords(changed, restart));
  };
  return () => {
    reload().catch((thrown: unknown) => {
      const { code, message, hint } = asSallyportError(thrown);
      const hints = [...(hint === undefined ? [] : [hint]), 'what was in force still is'];
      reporter.error(new SallyportError(code, message, { hint: hints.join('; '), cause: thrown }));
    });
  };
}

function valuesOf(command: Command): Map<string, string> {
  const values = command.opts<Record<string, unknown>>();
  return new Map(
    command.options.map((each) => [each.name(), JSON.stringify(values[each.attributeName()]) ?? '']),
  );
}

function reloadedWords(changed: readonly string[], restart: readonly string[]): string {
  const news = [
    changed.length > 0 ? `in force now: ${changed.join(', ')}` : [],
    restart.length > 0 ? `in force after a restart: ${restart.join(', ')}` : [],
  ].flat();
  return `the configuration was read again; ${news.join('; ') || 'nothing has changed'}`;
}

async function untilStopped(
  peer: Peer,
  stop: AbortSignal,
  pipeDone: Promise<void> | undefined,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stop.addEventListener('abort', () => resolve());
    if (stop.aborted) resolve();
    onRefused(peer, reject);
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
