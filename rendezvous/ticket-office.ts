import { createHmac } from 'node:crypto';
import { digest, publicKeyOf, type Identity, type PeerId } from '../src/core/identity.ts';
import { hex } from '../src/core/bytes.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { Instant } from '../src/core/machine.ts';
import { issueTicket } from '../src/core/protocol/ticket.ts';

/** Who a circuit joins. The session's initiator takes leg 0, the responder leg 1. */
export interface CircuitParties {
  readonly session: Uint8Array;
  readonly initiator: PeerId;
  readonly responder: PeerId;
}

const RELAYS_PER_SESSION = 2;

/** The relays of a session in order of preference, the same for both its legs: the responder's (rendezvous hashing). */
export function relaysInOrder<Relay extends { readonly id: PeerId }>(
  relays: readonly Relay[],
  responder: PeerId,
): Relay[] {
  const weigh = (relay: Relay) => hex(digest(publicKeyOf(relay.id), publicKeyOf(responder)));
  return relays
    .map((relay) => ({ relay, weight: weigh(relay) }))
    .sort((a, b) => (a.weight < b.weight ? -1 : 1))
    .map(({ relay }) => relay);
}

/**
 * Issues the tickets of both legs without remembering any: a circuit's id follows from the session, both parties
 * and the relay. So a renewal needs no state, and nobody gets a ticket into a circuit of others.
 */
export class TicketOffice {
  readonly #deployment: Identity;
  readonly #secret: Uint8Array;

  constructor(deployment: Identity) {
    this.#deployment = deployment;
    this.#secret = createHmac('sha256', deployment.secretKey).update('sallyport/1 circuits').digest();
  }

  tickets(
    parties: CircuitParties,
    leg: 0 | 1,
    relays: readonly { id: PeerId }[],
    now: Instant,
  ): Uint8Array[] {
    const chosen = relaysInOrder(relays, parties.responder).slice(0, RELAYS_PER_SESSION);
    return chosen.map((relay) =>
      issueTicket(this.#deployment, {
        circuit: this.#circuit(parties, relay.id),
        leg,
        peer: leg === 0 ? parties.initiator : parties.responder,
        relay: relay.id,
        expires: now + LIMITS.ticketLifetimeMs,
        bytesPerSecond: 0,
      }),
    );
  }

  #circuit({ session, initiator, responder }: CircuitParties, relay: PeerId): Uint8Array {
    const hmac = createHmac('sha256', this.#secret).update(session);
    for (const id of [initiator, responder, relay]) hmac.update(publicKeyOf(id));
    return new Uint8Array(hmac.digest().subarray(0, 16));
  }
}
