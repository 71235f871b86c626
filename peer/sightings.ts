import type { PeerId } from '../src/core/identity.ts';
import { isAttested } from '../src/core/protocol/attestation.ts';
import type { Candidate } from '../src/core/punch/candidate.ts';
import type { PortSample, RemoteCandidate } from '../src/core/punch/events.ts';
import type { Deployment } from './deployment.ts';

/**
 * Where the rendezvous itself saw a peer. A peer may name any address as its own, and whoever believed it would send
 * probes to a third party; what the rendezvous attests is known to be true.
 */
export class Sightings {
  readonly #deployment: Deployment;
  readonly #peer: PeerId;

  constructor(deployment: Deployment, peer: PeerId) {
    this.#deployment = deployment;
    this.#peer = peer;
  }

  /** Marks the candidates at which it was seen. */
  mark(candidates: readonly Candidate[]): RemoteCandidate[] {
    const now = this.#deployment.serverTime();
    return candidates.map((candidate) => ({ ...candidate, attested: this.#isTrue(candidate, now) }));
  }

  /** Those of the samples that are attested, with the time by our clock. */
  date(samples: readonly Candidate[]): PortSample[] {
    const now = this.#deployment.serverTime();
    return samples
      .filter((sample) => this.#isTrue(sample, now))
      .map((sample) => ({ ...sample, seenAt: this.#deployment.toLocal(sample.attestation!.time) }));
  }

  #isTrue(candidate: Candidate, now: number): boolean {
    return isAttested(candidate, this.#peer, this.#deployment.id, now);
  }
}
