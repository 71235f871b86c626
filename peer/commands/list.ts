import type { Command } from 'commander';
import { folded } from '../../src/cli/fold.ts';
import { Home } from '../home.ts';
import { knownPeers, type KnownPeer } from '../known-peers.ts';
import { agoWords, reporterOf, withPeerOptions, type SharedOptions } from './shared.ts';

/** `peer list`: the peers that this home remembers. */
export function addListCommand(program: Command): void {
  withPeerOptions(
    program
      .command('list')
      .description('the peers known here: their names, what each is allowed, how it was last met directly'),
  ).action((options: SharedOptions) => {
    const peers = knownPeers(new Home(options.home));
    const words = peers.length > 0 ? peers.map(peerWords).join('\n') : 'no peer is known here yet';
    reporterOf(options).report({ peers }, folded(words));
  });
}

function peerWords({ id, names, allowed, met }: KnownPeer): string {
  const details = [
    ...names,
    ...(allowed === undefined ? [] : [allowedWords(allowed)]),
    ...(met
      ? [`direct by ${met.transport.toUpperCase()}, ${met.technique}, ${agoWords(met.secondsAgo)}`]
      : []),
  ];
  return `${id}  ${details.join('; ')}`;
}

function allowedWords(allowed: NonNullable<KnownPeer['allowed']>): string {
  if (allowed === 'none') return 'denied';
  return allowed === 'all' ? 'allowed' : `allowed ${allowed.join(', ')}`;
}
