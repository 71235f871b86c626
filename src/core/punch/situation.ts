import { SallyportError } from '../errors.ts';
import type { NatProfile, TransportProfile } from '../nat/behavior.ts';
import { CIRCUIT_KINDS, type CircuitKind } from '../session/events.ts';
import type { Transport } from './candidate.ts';

/** A kind of path that a user may allow or forbid (`--paths`). */
export type PathChoice = Transport | 'relay';

/** As `PathChoice`, or one kind of leg alone. */
export type PathRequest = PathChoice | CircuitKind;

export const PATH_REQUESTS: readonly PathRequest[] = ['udp', 'tcp', 'relay', ...CIRCUIT_KINDS];

export function isPathRequest(kind: string): kind is PathRequest {
  return PATH_REQUESTS.some((known) => known === kind);
}

/**
 * What is asked for, as it is offered: `circuits` is missing where any kind of leg will do.
 * @throws SallyportError `USAGE` where nothing is asked for, or what is no kind of path
 */
export function pathTerms(asked: readonly PathRequest[]): {
  kinds: PathChoice[];
  circuits?: CircuitKind[] | undefined;
} {
  if (asked.length === 0 || !asked.every(isPathRequest)) {
    throw new SallyportError('USAGE', `not a list of paths: ${JSON.stringify(asked)}`, {
      hint: `give some of ${PATH_REQUESTS.join(', ')}`,
    });
  }
  const circuits = CIRCUIT_KINDS.filter((kind) => asked.includes(kind));
  const kinds = (['udp', 'tcp', 'relay'] as const).filter(
    (kind) => asked.includes(kind) || (kind === 'relay' && circuits.length > 0),
  );
  return asked.includes('relay') || circuits.length === 0 ? { kinds } : { kinds, circuits };
}

/** What a plan is made from: one end's measured NATs and what it allows. */
export interface PeerSituation {
  readonly profile: NatProfile;
  readonly kinds: readonly PathChoice[];
}

/** Each destination gets a mapping of its own, so what a STUN server saw is not what the peer will see. */
export function hasDependentMapping({ mapping }: TransportProfile): boolean {
  return mapping === 'address-dependent' || mapping === 'address-and-port-dependent';
}

/** Anybody may send to the mapping, asked or not. */
export function acceptsAnybody(profile: TransportProfile): boolean {
  const { mapping } = profile;
  return (mapping === 'none' || mapping === 'endpoint-independent') && hasOpenFilter(profile);
}

/** Each mapping, whomever it was made for, lets anybody in. */
export function hasOpenFilter({ filtering }: TransportProfile): boolean {
  return filtering === 'none' || filtering === 'endpoint-independent';
}

/** Each mapping takes what comes from any port of an address that it was made for. */
export function acceptsAnyPort(profile: TransportProfile): boolean {
  return hasOpenFilter(profile) || profile.filtering === 'address-dependent';
}

/** Both appear to the world under one address: the same NAT, or the same carrier's. */
export function sharesPublicAddress(a: TransportProfile, b: TransportProfile): boolean {
  return a.publicAddresses.some((address) => b.publicAddresses.includes(address));
}

/** Each new mapping takes the port after the last one's. */
export function isSequential({ allocation }: TransportProfile): boolean {
  return allocation.kind === 'sequential';
}

/** That this profile's mapping really is endpoint-independent. */
export function confidence({ mapping, provisional }: TransportProfile): number {
  if (mapping === 'unknown') return 0.5;
  return provisional ? 0.9 : 0.99;
}
