import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { option, withSharedOptions } from '../../src/cli/run.ts';
import { Reporter } from '../../src/cli/reporter.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { outOfFiles } from '../../src/net/out-of-files.ts';
import type { PeerId } from '../../src/core/identity.ts';
import { remoteFailure } from '../../src/core/remote-failure.ts';
import { formatRendezvousUrl, parseRendezvousUrl } from '../../src/core/rendezvous-url.ts';
import { isPathRequest, PATH_REQUESTS, type PathRequest } from '../../src/core/punch/situation.ts';
import type { SessionEnd } from '../../src/core/session/events.ts';
import type { Verdict } from '../../src/core/punch/verdict.ts';
import { systemClock } from '../../src/net/clock.ts';
import { Peer, type PeerOptions } from '../peer.ts';
import type { PathReport, Session } from '../session.ts';
import { SettingsFile } from '../settings.ts';
import { Home } from '../home.ts';

/** What every command of `peer` takes. */
export interface SharedOptions {
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
  home?: string;
  config?: string;
  rendezvous?: string;
  tokenFile?: string | undefined;
  /** False by `--no-port-mapping`. */
  portMapping?: boolean;
}

/** What every command takes that meets another peer. */
export interface DialOptions extends SharedOptions {
  paths?: PathRequest[];
  accept?: boolean;
}

export function withPeerOptions(command: Command): Command {
  return withSharedOptions(command)
    .addOption(option('--home <dir>', "the folder of this peer's key, settings and allow list"))
    .addOption(option('--config <file>', "a configuration file, instead of the home folder's config.yaml"))
    .addOption(
      option('--rendezvous <url>', 'where to register, instead of the one joined').argParser(rendezvousUrl),
    )
    .addOption(option('--token-file <file>', 'a file that holds the join token'))
    .addOption(option('--no-port-mapping', "don't ask the router to map ports (UPnP, NAT-PMP, PCP)"));
}

/** @throws SallyportError `URL_INVALID` */
function rendezvousUrl(text: string): string {
  parseRendezvousUrl(text);
  return text;
}

/**
 * A peer that runs for one command, speaking through its reporter.
 * @param begin is given it as soon as it may offer a session: for a dialler that is before it is registered
 */
export async function startPeer(
  options: SharedOptions,
  reporter: Reporter,
  more: PeerOptions,
  begin: (peer: Peer) => void = () => {},
): Promise<Peer> {
  const opening = Peer.open({
    home: options.home,
    rendezvous: withToken(options),
    portMapping: options.portMapping,
    ...more,
  });
  const starting = opening.then(async (peer) => {
    tellOf(peer, reporter);
    begin(peer);
    await peer.whenRegistered().catch(async (thrown: unknown) => {
      await peer.close();
      throw thrown;
    });
    return peer;
  });
  const peer = await patiently('rendezvous', starting, reporter);
  let told = false;
  peer.on('registered', () => (told = false));
  peer.on('unregistered', ({ code, message }) => {
    // People are told of the first attempt that fails, not of each.
    const words = told
      ? undefined
      : `no connection to the rendezvous (${message}); trying again until it is back`;
    told = true;
    reporter.event('unregistered', { code, message }, words);
  });
  if (more.role === 'dial') {
    peer.on('error', ({ code, message }) =>
      reporter.event(
        'unregistered',
        { code, message },
        `the rendezvous no longer takes this peer (${message}); the session goes on without it`,
      ),
    );
  }
  return peer;
}

/** Tells of what may happen from the first registration on. */
function tellOf(peer: Peer, reporter: Reporter): void {
  let told: string | undefined;
  const registered = () => {
    // Where connections race, or one takes the place of a silent one, it was registered all along: no news to a person.
    const words = peer.rendezvous === told ? undefined : `registered at ${peer.rendezvous}`;
    told = peer.rendezvous;
    reporter.event('registered', { id: peer.id, rendezvous: peer.rendezvous }, words);
  };
  peer.on('registered', registered).on('unregistered', () => (told = undefined));
  peer.on('successor', (from, to) =>
    reporter.event('successor', { peer: to, before: from }, `${from} is ${to} now, by its own word`),
  );
  peer.on('outdated', (from, to) => {
    const words = `${from} is ${to} now, by its own word, and was refused: put the new id into --allow or the configuration file`;
    reporter.event('outdated', { peer: to, before: from }, words);
  });
  peer.on('allow-list', (why) => reporter.error(why));
  peer.on('session', (session) => reportSession(session, reporter));
  reportPin(peer.deployment.firstSeen, reporter);
  if (peer.registered) registered();
}

/** The same for a command that prints one report, and speaks of nothing before that but what it waits for. */
export function startQuietly(options: SharedOptions, reporter: Reporter, signal: AbortSignal): Promise<Peer> {
  const starting = startPeer(options, reporterOf({ quiet: true }), { role: 'dial', signal });
  return patiently('rendezvous', starting, reporter);
}

/** Ready for sessions, of those who are allowed: that nobody is yet is what a first `peer up` has forgotten. */
export function reportUp(peer: Peer, reporter: Reporter): void {
  const words = `this peer is ${reporter.paint('bold', peer.id)}`;
  const advice = '\nnobody is allowed to connect yet: peer allow <id>, or peer invite';
  reporter.event('up', { id: peer.id }, peer.allowsNobody ? words + advice : words);
}

/** Calls back when the registration is lost for good, or at once if it is already. */
export function onRefused(peer: Peer, tell: (why: SallyportError) => void): void {
  peer.on('error', tell);
  if (peer.failure) tell(peer.failure);
}

export function reportPin(firstSeen: PeerId | undefined, reporter: Reporter): void {
  if (firstSeen === undefined) return;
  const words = `trusting the key of this rendezvous from now on, seen for the first time: ${firstSeen}`;
  reporter.event('pin', { deployment: firstSeen }, words);
}

/** The session with the peer that a command names. */
export function connectTo(
  peer: Peer,
  to: string,
  { paths, accept }: { paths?: readonly PathRequest[] | undefined; accept?: boolean | undefined },
  reporter: Reporter,
  signal: AbortSignal,
): Promise<Session> {
  return patiently('peer', peer.connect(to, { paths, signal, acceptName: accept }), reporter);
}

/** Says what is waited for where it doesn't come at once, which it mostly does. */
export async function patiently<Result>(
  what: 'rendezvous' | 'peer',
  promise: Promise<Result>,
  reporter: Reporter,
): Promise<Result> {
  const words = `no answer from the ${what} yet`;
  const cancel = systemClock.setTimer(() => reporter.event('waiting', { for: what }, words), PATIENCE_MS);
  try {
    return await promise;
  } finally {
    cancel();
  }
}

const PATIENCE_MS = 2_000;

/** The rendezvous to use, the token from a file put into its URL. */
function withToken({ rendezvous, tokenFile, home }: SharedOptions): string | undefined {
  if (tokenFile === undefined) return rendezvous;
  const url = rendezvous ?? new SettingsFile(new Home(home).settingsFile).rendezvous?.url;
  if (url === undefined)
    throw new SallyportError('USAGE', '--token-file needs a rendezvous', { hint: 'give --rendezvous' });
  return formatRendezvousUrl({ ...parseRendezvousUrl(url), token: readToken(tokenFile) });
}

export function readToken(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const failure = new SallyportError('CONFIG_INVALID', `can't read the token file ${file} (${code})`, {
      cause,
    });
    throw outOfFiles(cause) ?? failure;
  }
}

/** Tells of a session's life as it goes. */
function reportSession(session: Session, reporter: Reporter): void {
  const short = shortId(session.peer);
  reporter.event(
    'session',
    { peer: session.peer, session: session.id, role: session.role },
    `session with ${short} (${session.role === 'initiator' ? 'we called' : 'it called'})`,
  );
  session.on('path', (path) =>
    reporter.event('path', { session: session.id, ...path }, pathWords(path, reporter)),
  );
  session.on('closed', ({ code, message, remote }) => {
    const reason = code ?? 'done';
    const words = `session with ${short} closed${code === undefined ? '' : `: ${message}`}`;
    reporter.event('closed', { session: session.id, peer: session.peer, reason, message, remote }, words);
  });
}

/** Prints a session's traversal trace as it goes, and in the end why it is relayed where it is. */
export function explain(session: Session, reporter: Reporter): void {
  session.on('trace', (entry) => {
    const { at, transport, stage, text, packets } = entry;
    const head = `${String(at).padStart(7)} ms  ${(transport ?? '').padEnd(5)}  ${stage}`;
    const words = `${head}: ${text}${packets > 0 ? ` (${packets} packets)` : ''}`;
    reporter.event('trace', { session: session.id, ...entry }, reporter.paint('dim', words));
  });
  const verdict = (why: Verdict) => {
    const fields = { session: session.id, stage: 'verdict', ...why };
    reporter.event('trace', fields, `relayed (${why.code}): ${why.text}`);
  };
  session.on('relayed', verdict);
  if (session.relayedBecause) verdict(session.relayedBecause);
}

function pathWords(path: PathReport, reporter: Reporter): string {
  const { kind, state, remote, technique, rttMs, reason, direct } = path;
  const mark = {
    up: '○',
    active: reporter.paint(direct ? 'green' : 'yellow', '●'),
    down: reporter.paint('red', '✕'),
  }[state];
  const details = [
    direct ? 'direct' : 'relayed',
    remote && `to ${remote}`,
    direct && technique ? `by ${technique}` : undefined,
    rttMs === undefined ? undefined : `${rttMs} ms`,
    reason === technique ? undefined : reason,
  ];
  return `${mark} ${kind} ${state}: ${details.filter(Boolean).join(', ')}`;
}

/** What a command fails with whose session has ended by itself. */
export function endFailure({ code, message }: SessionEnd): SallyportError {
  return remoteFailure(code ?? 'SESSION_CLOSED', code ? message : 'the other side has closed the session');
}

export function shortId(id: string): string {
  return `${id.slice(0, 8)}…`;
}

/** `1 file`, `2 files`. */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

export function agoWords(seconds: number): string {
  if (seconds < 60) return 'just now';
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ago`;
  return `${Math.floor(seconds / 86_400)} days ago`;
}

/** `udp,tcp,relay` or a part of it; one kind of leg instead of `relay`, such as `relay-h1`. @throws SallyportError `USAGE` */
export function parsePaths(text: string): PathRequest[] {
  const kinds = text.split(',');
  if (!kinds.every(isPathRequest)) {
    throw new SallyportError('USAGE', `not a list of paths: ${JSON.stringify(text)}`, {
      hint: `write some of ${PATH_REQUESTS.join(',')}`,
    });
  }
  return [...new Set(kinds)];
}

export function reporterOf(options: SharedOptions): Reporter {
  return new Reporter(options);
}

/**
 * Closes a peer that others call, told to stop: what had ended still arrives, for a while. A session waits for as long as anything
 * moves in it, so that whoever calls could keep this process for ever.
 */
export async function leave(peer: Peer): Promise<void> {
  await peer.close({ signal: AbortSignal.timeout(LEAVING_MS) });
}

const LEAVING_MS = 10_000;
