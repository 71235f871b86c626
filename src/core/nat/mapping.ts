import { scopeOf } from '../address.ts';
import { sameEndpoint, type Endpoint } from '../endpoint.ts';
import type { MappingBehavior } from './behavior.ts';

/** What one server saw as the source of our one socket. */
export interface MappingObservation {
  readonly server: Endpoint;
  readonly mapped: Endpoint;
}

/** Our own end of the socket that was measured. */
export interface LocalSocket {
  /** Addresses of this host's interfaces. */
  readonly addresses: readonly string[];
  readonly port: number;
}

export interface MappingVerdict {
  readonly mapping: MappingBehavior;
  /** Equal mappings were seen from one address only: it may still depend on the address. */
  readonly provisional: boolean;
}

/**
 * Mapping behaviour (RFC 5780 §4.3) from what was answered; what was not answered proves nothing. One difference
 * between two ports of one address proves dependence on both; equality across two addresses proves independence.
 */
export function judgeMapping(observed: readonly MappingObservation[], local: LocalSocket): MappingVerdict {
  if (observed.length > 0 && observed.every(({ mapped }) => isUntranslated(mapped, local))) {
    return { mapping: 'none', provisional: false };
  }
  const pairs = pairsOf(observed);
  const acrossPorts = pairs.filter(([a, b]) => a.server.address === b.server.address);
  const acrossAddresses = pairs.filter(([a, b]) => a.server.address !== b.server.address);
  if (!acrossPorts.every(isEqual)) return certain('address-and-port-dependent');
  if (acrossAddresses.length > 0) {
    if (acrossAddresses.every(isEqual)) return certain('endpoint-independent');
    return certain(acrossPorts.length > 0 ? 'address-dependent' : 'unknown');
  }
  return { mapping: acrossPorts.length > 0 ? 'endpoint-independent' : 'unknown', provisional: true };
}

/** A loopback address is always one of this host's own. */
function isUntranslated({ address, port }: Endpoint, local: LocalSocket): boolean {
  return port === local.port && (local.addresses.includes(address) || scopeOf(address) === 'loopback');
}

function certain(mapping: MappingBehavior): MappingVerdict {
  return { mapping, provisional: mapping === 'unknown' };
}

function pairsOf<T>(items: readonly T[]): [T, T][] {
  return items.flatMap((first, i) => items.slice(i + 1).map((second): [T, T] => [first, second]));
}

function isEqual([a, b]: [MappingObservation, MappingObservation]): boolean {
  return sameEndpoint(a.mapped, b.mapped);
}
