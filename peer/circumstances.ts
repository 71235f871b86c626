import { UNMEASURED, type NatProfile, type TransportProfile } from '../src/core/nat/behavior.ts';
import { isMeasured, natWords } from '../src/core/nat/words.ts';
import type { Candidate, Transport } from '../src/core/punch/candidate.ts';
import type { TraceLine } from './trace.ts';

type End = 'here' | 'there';

/** What is known of one end's network. */
export interface Face {
  readonly profile?: NatProfile | undefined;
  readonly candidates?: readonly Candidate[] | undefined;
}

/** More than this many addresses of one end are not told apart. */
const MAX_ADDRESSES = 64;

const NOTHING_MEASURED: NatProfile = { version: 0, udp: UNMEASURED, tcp: UNMEASURED };

/** Both ends' networks as far as hole punching depends on them: tells when another try makes sense. */
export class Circumstances {
  readonly profiles: Record<End, NatProfile> = { here: NOTHING_MEASURED, there: NOTHING_MEASURED };
  #addresses: Record<End, Set<string>> = { here: new Set(), there: new Set() };
  #told = new Map<string, string>();

  /** True where that end's NATs are other ones than was known, or it has an address that it had not. */
  learn(end: End, { profile, candidates = [] }: Face): boolean {
    const isOther = profile !== undefined && keyOf(profile) !== keyOf(this.profiles[end]);
    this.profiles[end] = profile ?? this.profiles[end];
    const known = this.#addresses[end];
    const before = known.size;
    for (const { type, transport, endpoint } of candidates) {
      if (known.size < MAX_ADDRESSES) known.add(`${type} ${transport} ${endpoint.address}`);
    }
    return isOther || known.size > before;
  }

  /** What stands at both ends, as far as it wasn't told yet. */
  lines(transports: readonly Transport[]): TraceLine[] {
    return transports.flatMap((transport) =>
      (['here', 'there'] as const).flatMap((end): TraceLine[] => {
        const profile = this.profiles[end];
        const text = `${end}, the NAT ${natWords(transport, profile)}`;
        if (!isMeasured(profile[transport])) return [];
        if (this.#told.get(`${transport} ${end}`) === text) return [];
        this.#told.set(`${transport} ${end}`, text);
        return [{ transport, stage: 'nat', text }];
      }),
    );
  }
}

function keyOf({ udp, tcp }: NatProfile): string {
  return JSON.stringify([udp, tcp].map(planned));
}

/** What a plan is made from; a lifetime or a verdict that is merely surer changes nothing. */
function planned({ reachable, mapping, filtering, allocation, publicAddresses }: TransportProfile): unknown {
  return [reachable, mapping, filtering, allocation, publicAddresses.toSorted()];
}
