import type { Command } from 'commander';
import { stopSignal } from '../../src/cli/run.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { looksLikeInvite, parseInvite, type Invite } from '../../src/core/invite.ts';
import { formatRendezvousUrl, parseRendezvousUrl } from '../../src/core/rendezvous-url.ts';
import { runningAgents } from '../agent-socket.ts';
import { AllowFile } from '../allow-list.ts';
import { Home } from '../home.ts';
import { InviteFolder } from '../invite-folder.ts';
import type { ConnectOptions, Peer } from '../peer.ts';
import type { Session } from '../session.ts';
import { SettingsFile } from '../settings.ts';
import { readToken, reporterOf, startPeer, withPeerOptions, type SharedOptions } from './shared.ts';

interface InviteCommandOptions extends SharedOptions {
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
    .option(
      '--services <names>',
      'what the guest may reach, separated by commas; all by default',
      parseServices,
    )
    .action(invite);
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
  if (!agents.some(({ command }) => command === 'up')) {
    reporter.event('invite', {}, 'it is taken while `peer up` runs here, and that does not run now');
  }
}

/** `peer join <invite>`: the rendezvous is remembered once the inviter has taken the invite. */
export async function joinByInvite(code: string, options: SharedOptions): Promise<void> {
  const { inviter, rendezvous } = parseInvite(code);
  const reporter = reporterOf(options);
  const stop = stopSignal();
  const more = { role: 'dial', signal: stop } as const;
  const peer = await startPeer({ ...options, ...meetingPlace(code) }, reporter, more);
  try {
    await peer.accept(code, { signal: stop });
    peer.settings.remember(rendezvous);
    const { url, id: deployment } = rendezvous;
    reporter.report(
      { url, id: peer.id, deployment, peer: inviter },
      `joined ${url}\nthis peer is ${peer.id}\nit and ${inviter} allow one another from now on`,
    );
  } finally {
    await peer.close();
  }
}

/** Accepts an invite on the way to something else: the rendezvous is remembered if it is the first. */
export async function acceptInvite(peer: Peer, code: string, options: ConnectOptions): Promise<Session> {
  const session = await peer.accept(code, options);
  if (!peer.settings.rendezvous) peer.settings.remember(parseInvite(code).rendezvous);
  return session;
}

/** Where to register to reach `to`, where that is an invite: it says so itself. */
export function meetingPlace(to: string): Pick<SharedOptions, 'rendezvous'> {
  return looksLikeInvite(to) ? { rendezvous: formatRendezvousUrl(parseInvite(to).rendezvous) } : {};
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
