import { randomBytes } from 'node:crypto';
import { Backoff } from '../src/core/backoff.ts';
import { asSallyportError, SallyportError } from '../src/core/errors.ts';
import type { Identity, PeerId } from '../src/core/identity.ts';
import { proveInvite } from '../src/core/invite.ts';
import type { PathChoice } from '../src/core/punch/situation.ts';
import { peekTicket } from '../src/core/protocol/ticket.ts';
import type { CircuitKind } from '../src/core/session/events.ts';
import { Handshake } from '../src/core/session/handshake.ts';
import {
  decodeAnswer,
  encodeOffer,
  INTRODUCTION_VERSION,
  MAX_ROUND_TRIP_MS,
  type Offer,
} from '../src/core/session/introduction.ts';
import type { Clock } from '../src/net/clock.ts';
import { pause } from '../src/net/pause.ts';
import type { Deployment } from './deployment.ts';
import { EarlyLeg } from './early-leg.ts';
import { PeerMoved } from './moved.ts';
import type { Network } from './network.ts';
import { ANSWER_TIMEOUT_MS, type PendingOffers } from './pending-offers.ts';

interface OfferingOptions {
  readonly identity: Identity;
  readonly network: Network;
  readonly deployment: Deployment;
  readonly clock: Clock;
}

/** What an offer is made with, beside whom it is for. */
export interface OfferTerms {
  readonly kinds: readonly PathChoice[];
  /** Of which kinds the legs of its circuit are to be; any by default. */
  readonly circuits?: readonly CircuitKind[] | undefined;
  /** 16 bytes: of the invite that lets us in. */
  readonly inviteSecret?: Uint8Array | undefined;
  readonly planOnly?: boolean;
}

/** A session that there is, to be offered anew. */
interface KnownSession {
  readonly session: Uint8Array;
  readonly instance: Uint8Array | undefined;
  readonly resume: NonNullable<Offer['resume']>;
}

type AnyTerms = OfferTerms & { readonly known?: KnownSession };

/** Until a peer is asked for again that a restarted rendezvous doesn't know yet. */
const RETURN_MS = 500;
/** Who begins many sessions at once is let in as fast as the rendezvous allows, and asks no oftener than this for long. */
const RATE_PAUSE_MS = 4_000;
/** A peer that has no room for another session has it as soon as one of those that are just beginning is confirmed. */
const ROOM_MS = 3_000;

/** Our half of the introduction: the first Noise message, which only the peer can read, and its answer, the second. */
export class Offering {
  readonly #options: OfferingOptions;
  readonly #pending: PendingOffers;

  constructor(options: OfferingOptions, pending: PendingOffers) {
    this.#options = options;
    this.#pending = pending;
  }

  /** An offer, and the answer to it as far as the handshake proves it. One that was lost is made anew, and one that was too many a little later. */
  async introduce(to: PeerId, terms: AnyTerms, signal?: AbortSignal) {
    const { clock } = this.#options;
    const began = clock.now();
    const giveUpAt = began + ANSWER_TIMEOUT_MS;
    const patience = new Backoff(RETURN_MS, RATE_PAUSE_MS, Math.random);
    for (let isRepeated = false; ;) {
      try {
        const introduced = await this.#offer(to, { ...terms, isRepeated }, giveUpAt, signal);
        if (introduced) return introduced;
        isRepeated = true;
      } catch (thrown) {
        const again = whenAgain(thrown, isRepeated, patience);
        if (!again || clock.now() + again.pauseMs > began + again.withinMs) throw thrown;
        await pause(clock, again.pauseMs, signal);
      }
    }
  }

  /** `undefined` where the offer or its answer was lost on the way. */
  async #offer(
    to: PeerId,
    { kinds, circuits, inviteSecret, planOnly, known, isRepeated }: AnyTerms & { isRepeated: boolean },
    giveUpAt: number,
    signal?: AbortSignal,
  ) {
    const { identity, deployment, network } = this.#options;
    const session = known?.session ?? new Uint8Array(randomBytes(16));
    const context = { initiator: identity.id, responder: to, rendezvous: deployment.id, session };
    const handshake = Handshake.initiator(identity, context);
    const told = network.publicFace(kinds);
    const terms = {
      version: INTRODUCTION_VERSION,
      kinds: [...kinds],
      ...(circuits && { circuits: [...circuits] }),
      ...told,
      roundTripMs: Math.min(MAX_ROUND_TRIP_MS, deployment.roundTripMs),
      ...(planOnly && { planOnly }),
      ...(inviteSecret && { invite: proveInvite(inviteSecret, context) }),
      ...(known && { resume: known.resume }),
    };
    // Where a session goes on, the peer knows this one by its id of now.
    const offer = encodeOffer(terms, known ? [] : identity.successions);
    const noise = writeFirst(handshake, offer);
    const leg = kinds.includes('relay') && !planOnly && !known ? this.#earlyLeg(circuits) : undefined;
    const onTickets = leg && ((tickets: readonly Uint8Array[]) => leg.take(tickets));
    try {
      const read = (answer: Uint8Array) => handshake.read(answer);
      const addressed = { to, session, noise, instance: known?.instance, read, onTickets, isRepeated };
      const answer = await this.#pending.send(addressed, giveUpAt, signal);
      if (!answer) {
        leg?.discard();
        return undefined;
      }
      return { session, told, handshake, answer, leg, read: decodeAnswer(answer.payload) };
    } catch (thrown) {
      leg?.discard();
      throw thrown;
    }
  }

  #earlyLeg(kinds: readonly CircuitKind[] | undefined): EarlyLeg {
    const { identity, deployment } = this.#options;
    return new EarlyLeg(async (ticket) => {
      const relay = deployment.relay(peekTicket(ticket).relay);
      if (!relay) throw new SallyportError('RELAY_UNREACHABLE', 'the relay is not known here');
      return relay.open(ticket, identity, { kinds });
    });
  }
}

/** When a failed offer is made anew, and until when after the first; `undefined` where that would change nothing. */
function whenAgain(thrown: unknown, isRepeated: boolean, patience: Backoff) {
  if (thrown instanceof PeerMoved) return undefined;
  const { code } = asSallyportError(thrown);
  // A rendezvous that was restarted knows of the peer when that has come back.
  if (code === 'PEER_OFFLINE' && isRepeated) return { pauseMs: RETURN_MS, withinMs: ANSWER_TIMEOUT_MS };
  if (code === 'RATE_LIMITED') return { pauseMs: patience.next(), withinMs: ANSWER_TIMEOUT_MS };
  if (code === 'LIMIT') return { pauseMs: patience.next(), withinMs: ROOM_MS };
  return undefined;
}

/** An id that is no point of the curve is nobody's, and no handshake can be made with it. */
function writeFirst(handshake: Handshake, offer: Uint8Array): Uint8Array {
  try {
    return handshake.write(offer);
  } catch (cause) {
    throw new SallyportError('PEER_OFFLINE', 'nobody can have this id', {
      hint: 'check it for a typing error',
      cause,
    });
  }
}
