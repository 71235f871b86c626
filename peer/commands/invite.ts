import { Option, type Command } from 'commander';
import { stopSignal } from '../../src/cli/run.ts';
import type { Reporter } from '../../src/cli/reporter.ts';
import { SallyportError } from '../../src/core/errors.ts';
import type { PeerId } from '../../src/core/identity.ts';
import { looksLikeInvite, parseInvite, type Invite } from '../../src/core/invite.ts';
import { formatRendezvousUrl, parseRendezvousUrl } from '../../src/core/rendezvous-url.ts';
import { runningAgents } from '../agent-socket.ts';
import { AllowFile } from '../allow-list.ts';
import { Home } from '../home.ts';
import { InviteFolder } from '../invite-folder.ts';
import type { AcceptOptions, Peer } from '../peer.ts';
import type { Session } from '../session.ts';
import { SettingsFile } from '../settings.ts';
import {
  patiently,
  readToken,
  reporterOf,
  startPeer,
  withPeerOptions,
  type SharedOptions,
} from './shared.ts';

export interface InviteCommandOptions extends SharedOptions {
  services?: string[];
}

/** `peer invite`: a code that makes this peer and whoever takes it to `peer join` allow one another. */
export function addInviteCommand(program: Command): void {
  withPeerOptions(
    program
      .command('invite')
      .description(
        'print an invite: one other peer may join with it within ten minutes, and is allowed here',
      ),
  )
    .addOption(servicesOption('what the guest may reach'))
    .action(invite);
}

/** Narrows what an invite grants, at either end of it. */
export function servicesOption(what: string): Option {
  return new Option('--services <names>', `${what}, separated by commas; all by default`).argParser(
    parseServices,
  );
}

async function invite(options: InviteCommandOptions): Promise<void> {
  const home = new Home(options.home);
  const reporter = reporterOf(options);
  const folder = new InviteFolder(home.invitesFolder, new AllowFile(home.allowFile));
  const { id } = home.identity();
  const code = folder.create(id, meetingPlaceOf(home, options), options.services);
  reporter.report({ invite: code, id, forSeconds: 600 }, code);
  if (options.json) return;
  reporter.event('invite', {}, 'good for one peer, once, for ten minutes. There: peer join <this>');
  const agents = await runningAgents(home.agentsFolder);
  if (!agents.some((agent) => 'command' in agent && agent.command === 'up')) {
    reporter.event('invite', {}, 'it is taken while `peer up` runs here, and that does not run now');
  }
}

/** `peer join <invite>`: the rendezvous is remembered once the inviter has taken the invite. */
export async function joinByInvite(code: string, options: InviteCommandOptions): Promise<void> {
  const { rendezvous } = parseInvite(code);
  const reporter = reporterOf(options);
  const stop = stopSignal({ finishes: true });
  const more = { role: 'dial', signal: stop } as const;
  const peer = await startPeer({ ...options, ...meetingPlace(code) }, reporter, more);
  try {
    const { services } = options;
    const accepted = peer.accept(code, { signal: stop, services });
    const { peer: inviter } = await patiently('peer', accepted, reporter);
    peer.settings.remember(rendezvous);
    const { url, id: deployment } = rendezvous;
    const words = [`joined ${url}`, `this peer is ${peer.id}`, grantWords(inviter, services)];
    reporter.report({ url, id: peer.id, deployment, peer: inviter, services }, words.join('\n'));
  } finally {
    await peer.close();
  }
}

function grantWords(inviter: PeerId, services?: readonly string[]): string {
  const what = services ? services.join(', ') : 'all that this peer exposes';
  return `${inviter} is allowed here in turn, for ${what}; peer allow ${inviter}=service,… narrows that, peer deny ends it`;
}

/** Accepts an invite on the way to something else: the rendezvous is remembered if it is the first. */
export async function acceptInvite(
  peer: Peer,
  code: string,
  options: AcceptOptions,
  reporter: Reporter,
): Promise<Session> {
  const session = await peer.accept(code, options);
  reporter.event('allowed', { peer: session.peer }, grantWords(session.peer));
  if (!peer.settings.rendezvous) peer.settings.remember(parseInvite(code).rendezvous);
  return session;
}

/** Where to register to reach `to`, where that is an invite: it says so itself, and holds the token if one is needed. */
export function meetingPlace(to: string): Pick<SharedOptions, 'rendezvous' | 'tokenFile'> {
  if (!looksLikeInvite(to)) return {};
  return { rendezvous: formatRendezvousUrl(parseInvite(to).rendezvous), tokenFile: undefined };
}

/** Where this peer's guests are to go: its own rendezvous, whose key has to be known. */
function meetingPlaceOf(home: Home, { rendezvous, tokenFile }: SharedOptions): Invite['rendezvous'] {
  const settings = new SettingsFile(home.settingsFile);
  const named = rendezvous === undefined ? settings.rendezvous : parseRendezvousUrl(rendezvous);
  if (!named) {
    throw new SallyportError('USAGE', 'no rendezvous is known', {
      hint: 'run `peer join <url>` with the URL that `rendezvous start` prints, or give --rendezvous',
    });
  }
  const id = named.id ?? settings.pinnedDeployment(named.url);
  if (!id) {
    throw new SallyportError('USAGE', `the key of ${named.url} is not known yet`, {
      hint: 'run `peer up` first, or join with a URL that has its id',
    });
  }
  const remembered = settings.rendezvous?.url === named.url ? settings.rendezvous.token : undefined;
  const token = tokenFile === undefined ? (named.token ?? remembered) : readToken(tokenFile);
  return { url: named.url, id, token };
}

/** @throws SallyportError `USAGE` */
function parseServices(text: string): string[] {
  const names = text.split(',');
  if (names.every((name) => /^[^\s=,#!]+$/.test(name))) return names;
  throw new SallyportError('USAGE', `not a list of services: ${JSON.stringify(text)}`, {
    hint: 'write their names with commas between',
  });
}
