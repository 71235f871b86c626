import { familyOfAddress, scopeOf, type AddressScope } from '../address.ts';
import { sameEndpoint, type Endpoint } from '../endpoint.ts';
import type { Candidate } from './candidate.ts';

/** What this end knows about itself that decides what it may be made to send to. */
export interface TargetRules {
  /** Only where this end's own rendezvous connection runs over loopback. */
  readonly allowLoopback: boolean;
  /** Our own candidates: a dial to the own port and address connects to itself. */
  readonly own: readonly Candidate[];
}

/** A peer-named UDP port below this could be a DNS or NTP server that we would be made to disturb. */
const FIRST_ORDINARY_PORT = 1024;

/**
 * Why nothing may be sent to this candidate of the peer's, or `undefined` where it may be tried. Nobody can make a
 * peer send to a place that isn't the other peer: addresses in one canonical spelling are judged by their scope, and
 * private ones count only as host candidates, which get a handful of slow probes.
 */
export function refusalOf(candidate: Candidate, attested: boolean, rules: TargetRules): string | undefined {
  const { endpoint, transport } = candidate;
  if (endpoint.port === 0) return 'port 0';
  if (transport === 'udp' && !attested && endpoint.port < FIRST_ORDINARY_PORT) return 'a port below 1024';
  if (isOwn(candidate, rules.own)) return 'an address of our own';
  return refusalOfScope(scopeOf(endpoint.address), candidate.type === 'host' || attested, rules);
}

/** A place on this link or site, which no NAT to the outside lies before. */
export function isLocal(endpoint: Endpoint): boolean {
  const scope = scopeOf(endpoint.address);
  return scope === 'private' || scope === 'loopback' || scope === 'link-local';
}

/** IPv6 first, where everything else is equal. */
export function familyPreference(endpoint: Endpoint): number {
  return familyOfAddress(endpoint.address) === 6 ? 1 : 0;
}

function refusalOfScope(scope: AddressScope, mayBePrivate: boolean, rules: TargetRules): string | undefined {
  switch (scope) {
    case 'public':
      return undefined;
    case 'private':
    case 'shared':
      return mayBePrivate ? undefined : 'a private address that is no host candidate';
    case 'loopback':
      return rules.allowLoopback ? undefined : 'a loopback address';
    case 'unspecified':
    case 'link-local':
    case 'multicast':
    case 'reserved':
      return `a ${scope} address`;
  }
}

function isOwn(candidate: Candidate, own: readonly Candidate[]): boolean {
  return own.some(
    ({ transport, endpoint }) =>
      transport === candidate.transport && sameEndpoint(endpoint, candidate.endpoint),
  );
}
