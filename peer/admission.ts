import { asSallyportError, SallyportError } from '../src/core/errors.ts';
import type { Identity, PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import { verifyOffer } from '../src/core/protocol/auth.ts';
import type { MessageTo, ToNode } from '../src/core/protocol/rendezvous.ts';
import { ephemeralOf, Handshake, type HandshakeContext } from '../src/core/session/handshake.ts';
import { decodeOffer, INTRODUCTION_VERSION, type Offer } from '../src/core/session/introduction.ts';
import type { Clock } from '../src/net/clock.ts';
import type { Grant } from './allow-list.ts';
import type { Deployment } from './deployment.ts';
import type { InviteFolder, OpenInvite } from './invite-folder.ts';
import { ReplayMemory } from './replay-memory.ts';
import type { Session } from './session.ts';
import type { Predecessor } from './trust.ts';

export interface AdmissionOptions {
  readonly identity: Identity;
  readonly deployment: Deployment;
  readonly clock: Clock;
  readonly grantOf: (id: PeerId) => Grant | undefined;
  /** No invite helps a peer that is denied by name. */
  readonly isDenied: (id: PeerId) => boolean;
  readonly invites: InviteFolder;
  /** Whether a peer that isn't allowed may be one that was, under another id. */
  readonly mayReturn: () => boolean;
  /** Of which earlier id of a peer the allow list speaks, by the chain that it shows, unless it speaks of the peer itself. */
  readonly predecessorOf: (id: PeerId, successions: Uint8Array) => Predecessor | undefined;
  /** A guest is in a session. @throws SallyportError `NOT_AUTHORIZED` where its invite was used meanwhile */
  readonly onGuest: (guest: PeerId, invite: OpenInvite) => void;
  /** A peer is in a session that was allowed under another id. @throws SallyportError `NOT_AUTHORIZED` where it isn't any more */
  readonly onSuccessor: (from: PeerId, to: PeerId) => void;
  /** @throws SallyportError where no session of that id may begin with this peer */
  readonly checkRoom: (session: Uint8Array, from: PeerId) => void;
}

export type ForwardedOffer = MessageTo<ToNode, 'offer'>;

/** How far our idea of the rendezvous's clock may be behind. */
const CLOCK_TOLERANCE_MS = 5_000;

/**
 * Which offers are heard, and whose. What is cheap and tells a stranger nothing is asked first: is the offer fresh and
 * attested, was it seen before, is its sender allowed, is there room. Only then is anything decrypted. Who holds an
 * invite instead, or was allowed under another id, is a guest until its keys are proven, which puts it on the allow list.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  /** Apart, so that strangers can't fill what keeps those who are allowed. */
  readonly #replays: Record<'allowed' | 'others', ReplayMemory>;
  /** Sessions that will change the allow list when their keys are proven. */
  readonly #guests = new Set<Session>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
    const memory = (capacity: number) =>
      new ReplayMemory(LIMITS.offerReplayWindowMs, capacity, options.clock);
    this.#replays = {
      allowed: memory(LIMITS.rememberedOffers),
      others: memory(LIMITS.rememberedStrangersOffers),
    };
  }

  isGuest(session: Session): boolean {
    return this.#guests.has(session);
  }

  /**
   * An offer that the rendezvous did not attest within the last minute, or that was seen before, is a replay: it gets
   * no answer of any kind. One from the future could be replayed once it is forgotten here.
   */
  isFresh({ session, noise, time, signature }: ForwardedOffer, from: PeerId): boolean {
    const { deployment, grantOf } = this.#options;
    const age = deployment.serverTime() - time;
    if (age > LIMITS.attestationLifetimeMs || age < -CLOCK_TOLERANCE_MS) return false;
    if (!verifyOffer(deployment.id, signature, { from, session, noise, time })) return false;
    return this.#replays[grantOf(from) ? 'allowed' : 'others'].isFirst(ephemeralOf(noise));
  }

  /** An offer, opened if its sender is allowed or may be a guest. To anybody else every failure is the same refusal. */
  open(message: ForwardedOffer, from: PeerId) {
    const { grantOf, isDenied, invites, mayReturn } = this.#options;
    if (grantOf(from)) return this.#read(message, from);
    if (isDenied(from) || (invites.isEmpty && !mayReturn())) throw notAllowed();
    try {
      const read = this.#read(message, from);
      if (read.admit) return read;
    } catch (thrown) {
      if (!(thrown instanceof SallyportError)) throw thrown;
    }
    throw notAllowed();
  }

  /** Our end of the handshake that the peer began. */
  responding(session: Uint8Array, from: PeerId): Handshake {
    const { identity, deployment } = this.#options;
    const context = { initiator: from, responder: identity.id, rendezvous: deployment.id, session };
    return Handshake.responder(identity, context);
  }

  /** What lets it in counts from the first path on, which takes the session's keys, and not by an offer that somebody repeats. */
  expectGuest(session: Session, admit: () => void): void {
    this.#guests.add(session);
    session.on('closed', () => this.#guests.delete(session));
    session.once('attached', () => {
      this.#guests.delete(session);
      try {
        admit();
      } catch (thrown) {
        const { code, message } = asSallyportError(thrown);
        session.driver.destroy(code, message);
      }
    });
  }

  #read({ session, noise }: ForwardedOffer, from: PeerId) {
    this.#options.checkRoom(session, from);
    const handshake = this.responding(session, from);
    const offer = decodeOffer(handshake.read(noise));
    if (offer.version !== INTRODUCTION_VERSION)
      throw new SallyportError('VERSION_UNSUPPORTED', 'another version');
    return { offer, handshake, admit: this.#claimOf(offer, handshake.context) };
  }

  /** What lets the initiator of an offer in that isn't on the allow list. @throws SallyportError `NOT_AUTHORIZED` */
  #claimOf({ invite, successions }: Offer, context: HandshakeContext): (() => void) | undefined {
    const { invites, predecessorOf, onGuest, onSuccessor } = this.#options;
    const { initiator } = context;
    const before = successions && predecessorOf(initiator, successions);
    // Denied is denied under another id too, where `any` is allowed or an invite is shown as well.
    if (before?.isDenied) throw notAllowed();
    if (invite) {
      const open = invites.check(invite, context);
      return () => onGuest(initiator, open);
    }
    return before && (() => onSuccessor(before.id, initiator));
  }
}

function notAllowed(): SallyportError {
  return new SallyportError('NOT_AUTHORIZED', 'not on the allow list');
}
