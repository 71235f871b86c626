import { scopeOf, type Family } from '../core/address.ts';
import { familyOf, type Endpoint } from '../core/endpoint.ts';
import type { DiscoveryOptions } from '../core/nat/discovery.ts';
import type { StunCredentials } from '../core/stun/request.ts';

/** What a registration says of the deployment's STUN servers. */
export interface StunAccess extends StunCredentials {
  /** The primary address's two ports, then the second address's. */
  readonly udp: readonly Endpoint[];
  readonly tcp: readonly Endpoint[];
}

/** Servers of anybody's, asked without credentials. */
export interface PlainStunAccess {
  readonly udp: readonly Endpoint[];
  readonly tcp: readonly Endpoint[];
  /** They answer from elsewhere on request (RFC 5780). */
  readonly canChangeOrigin: boolean;
}

/** Who asks them, and what may be asked for. */
export function requestsTo(
  stun: StunAccess | PlainStunAccess,
): Pick<DiscoveryOptions, 'credentials' | 'canChangeOrigin'> {
  if (!('key' in stun)) return { credentials: undefined, canChangeOrigin: stun.canChangeOrigin };
  return { credentials: { username: stun.username, key: stun.key } };
}

export function ofFamily(family: Family, servers: readonly Endpoint[]): Endpoint[] {
  return servers.filter((server) => familyOf(server) === family);
}

/**
 * The first witness at another address that is of the same kind as the servers' own: between a private network and the
 * internet there is another NAT than within either, and nobody shall make us ask hosts of our own network.
 */
export function witnessFor(
  [primary]: readonly Endpoint[],
  witnesses: readonly Endpoint[],
): Endpoint | undefined {
  if (!primary) return undefined;
  return witnesses.find(
    (witness) =>
      witness.address !== primary.address &&
      familyOf(witness) === familyOf(primary) &&
      scopeOf(witness.address) === scopeOf(primary.address),
  );
}
