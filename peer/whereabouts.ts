import { familyOf } from '../src/core/endpoint.ts';
import type { Candidate } from '../src/core/punch/candidate.ts';

/**
 * The public addresses at which one end was when a round of punching began. The peer's probes go there for the whole
 * round, so none of them arrives any more once that end has moved to another network or its NAT has a new address.
 */
export class Whereabouts {
  #addresses: Record<4 | 6, string[]>;

  /** @param candidates newest first, as below */
  constructor(candidates: readonly Candidate[]) {
    this.#addresses = publicAddresses(candidates);
  }

  /** True where it was seen last at another address than ever before; with several to begin with, a pool, that is usual. */
  hasMoved(candidates: readonly Candidate[]): boolean {
    const now = publicAddresses(candidates);
    return ([4, 6] as const).some((family) => {
      const [before, newest] = [this.#addresses[family], now[family][0]];
      return before.length === 1 && newest !== undefined && newest !== before[0];
    });
  }
}

function publicAddresses(candidates: readonly Candidate[]): Record<4 | 6, string[]> {
  const addresses = (family: number) => {
    const all = candidates.filter(({ type, endpoint }) => type !== 'host' && familyOf(endpoint) === family);
    return [...new Set(all.map(({ endpoint }) => endpoint.address))];
  };
  return { 4: addresses(4), 6: addresses(6) };
}
