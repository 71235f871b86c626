import type { NatProfile } from '../src/core/nat/behavior.ts';
import type { Candidate } from '../src/core/punch/candidate.ts';

/** What one end knows of its own network. */
interface NetworkFace {
  readonly candidates: readonly Candidate[];
  readonly profile: NatProfile;
  /** Mappings that were new just now. */
  readonly samples?: readonly Candidate[];
}

/** What the peer doesn't know yet. */
type News = Partial<Pick<NetworkFace, 'candidates' | 'profile' | 'samples'>>;

/** Remembers what the peer has been told of our network, so that an update carries only what is new. */
export class NetworkNews {
  #candidates = new Set<string>();
  #samples = new Set<string>();
  #profile = '';

  /** The peer knows this. */
  told({ candidates, profile, samples = [] }: NetworkFace): void {
    for (const candidate of candidates) this.#candidates.add(keyOf(candidate));
    for (const sample of samples) this.#samples.add(keyOf(sample));
    this.#profile = textOf(profile);
  }

  /** The peer has forgotten everything, as in a new round of punching. */
  forgotten(): void {
    this.#candidates.clear();
    this.#samples.clear();
    this.#profile = '';
  }

  /** What the peer doesn't know yet, and from now on does; `undefined` where that is nothing. */
  of(face: NetworkFace): News | undefined {
    const candidates = face.candidates.filter((candidate) => !this.#candidates.has(keyOf(candidate)));
    const samples = face.samples?.filter((sample) => !this.#samples.has(keyOf(sample))) ?? [];
    const isNewProfile = textOf(face.profile) !== this.#profile;
    this.told(face);
    if (candidates.length === 0 && samples.length === 0 && !isNewProfile) return undefined;
    return {
      ...(candidates.length > 0 && { candidates }),
      ...(samples.length > 0 && { samples }),
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
