import { familyOf } from '../src/core/endpoint.ts';
import type { Candidate } from '../src/core/punch/candidate.ts';

/**
 * The public addresses at which one end was when a round of punching began. The peer's probes go there for the whole
 * round, so none of them arrives any more once that end has moved to another network or its NAT has a new address.
 */
export class Whereabouts {
  readonly #addresses: ReadonlySet<string>;
  readonly #ways: ReadonlySet<string>;

  constructor(candidates: readonly Candidate[]) {
    const seen = seenAddresses(candidates);
    this.#addresses = new Set([...seen.values()].flat());
    this.#ways = new Set(seen.keys());
  }

  /** True where one of the ways out leads from none of these addresses any more; what follows it there is no news. */
  hasMoved(candidates: readonly Candidate[]): boolean {
    const isElsewhere = (addresses: string[]) => !addresses.some((address) => this.#addresses.has(address));
    return [...seenAddresses(candidates)].some(
      ([way, addresses]) => this.#ways.has(way) && isElsewhere(addresses),
    );
  }
}

/** By family and transport: each notices by itself that it is elsewhere. */
function seenAddresses(candidates: readonly Candidate[]): Map<string, string[]> {
  const addresses = new Map<string, string[]>();
  for (const { type, transport, endpoint } of candidates) {
    if (type !== 'srflx') continue;
    const way = `${familyOf(endpoint)} ${transport}`;
    addresses.set(way, [...(addresses.get(way) ?? []), endpoint.address]);
  }
  return addresses;
}
