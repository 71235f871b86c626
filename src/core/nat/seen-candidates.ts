import { formatEndpoint, sameEndpoint, type Endpoint } from '../endpoint.ts';
import type { Instant } from '../machine.ts';
import type { Attestation, Candidate, Transport } from '../punch/candidate.ts';

/** A mapping that a NAT had just made when a server saw it, and when the answer came. */
export interface NewMapping {
  readonly candidate: Candidate;
  readonly at: Instant;
}

/**
 * The server-reflexive candidates of one socket, each with its newest attestation. Which of them are seen at a time is the
 * NAT's to choose, by destination. But where one server sees the socket elsewhere than before, its mapping is lost: the NAT
 * was restarted, or it is another network, and nothing that was seen until then leads here any more.
 */
export class SeenCandidates {
  readonly #transport: Transport;
  readonly #seen = new Map<string, { candidate: Candidate; at: Instant }>();
  /** Where each server has seen the socket last. */
  readonly #seenBy = new Map<string, Endpoint>();
  #newMapping: NewMapping | undefined;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Takes what a server saw; true when the endpoint is new. */
  add(server: Endpoint, endpoint: Endpoint, attestation: Attestation | undefined, now: Instant): boolean {
    this.#noteServer(formatEndpoint(server), endpoint);
    const key = formatEndpoint(endpoint);
    const isNew = !this.#seen.has(key);
    const candidate: Candidate = { type: 'srflx', transport: this.#transport, endpoint, attestation };
    this.#seen.delete(key);
    this.#seen.set(key, { candidate, at: now });
    if (isNew) this.#newMapping = { candidate, at: now };
    return isNew;
  }

  #noteServer(server: string, endpoint: Endpoint): void {
    const before = this.#seenBy.get(server);
    if (before && !sameEndpoint(before, endpoint)) {
      this.#seen.clear();
      this.#seenBy.clear();
    }
    this.#seenBy.set(server, endpoint);
  }

  /** The last endpoint that was new, when it was seen first. */
  get newMapping(): NewMapping | undefined {
    return this.#newMapping;
  }

  /** Those seen at most `maxAgeMs` ago, the newest first; by age of our own clock, not the attestation's. */
  list(now: Instant, maxAgeMs: number): Candidate[] {
    const fresh = [...this.#seen.values()].filter(({ at }) => now - at <= maxAgeMs);
    return fresh.toReversed().map(({ candidate }) => candidate);
  }

  get newest(): Candidate | undefined {
    return [...this.#seen.values()].at(-1)?.candidate;
  }
}
