import type { NatProfile } from '../src/core/nat/behavior.ts';
import type { Candidate } from '../src/core/punch/candidate.ts';

/** What one end knows of its own network. */
interface NetworkFace {
  readonly candidates: readonly Candidate[];
  readonly profile: NatProfile;
}

/** Remembers what the peer has been told of our network, so that an update carries only what is new. */
export class NetworkNews {
  #candidates = new Set<string>();
  #profile = '';

  /** The peer knows this. */
  told({ candidates, profile }: NetworkFace): void {
    for (const candidate of candidates) this.#candidates.add(keyOf(candidate));
    this.#profile = textOf(profile);
  }

  /** The peer has forgotten everything, as in a new round of punching. */
  forgotten(): void {
    this.#candidates.clear();
    this.#profile = '';
  }

  /** What the peer doesn't know yet, and from now on does; `undefined` where that is nothing. */
  of(face: NetworkFace): { candidates?: Candidate[]; profile?: NatProfile } | undefined {
    const candidates = face.candidates.filter((candidate) => !this.#candidates.has(keyOf(candidate)));
    const isNewProfile = textOf(face.profile) !== this.#profile;
    this.told(face);
    if (candidates.length === 0 && !isNewProfile) return undefined;
    return {
      ...(candidates.length > 0 && { candidates }),
      ...(isNewProfile && { profile: face.profile }),
    };
  }
}

/** An endpoint that was vouched for since is new; a fresher attestation of the same isn't. */
function keyOf({ type, transport, endpoint, attestation }: Candidate): string {
  return [type, transport, endpoint.address, endpoint.port, attestation !== undefined].join(' ');
}

/** The version grows even where nothing else has changed. */
function textOf({ udp, tcp, ipv6 }: NatProfile): string {
  return JSON.stringify([udp, tcp, ipv6]);
}
