import { setMaxListeners } from 'node:events';
import { hex } from '../src/core/bytes.ts';
import { asSallyportError, notWanted, SallyportError } from '../src/core/errors.ts';
import { peerIdOf, publicKeyOf, type PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { PathChoice, PeerSituation } from '../src/core/punch/situation.ts';
import {
  decodeOffer,
  encodeAnswer,
  INTRODUCTION_VERSION,
  MAX_ROUND_TRIP_MS,
  startLeadMs,
  type Offer,
  type RoundStart,
} from '../src/core/session/introduction.ts';
import { SessionKeys } from '../src/core/session/keys.ts';
import { withEither } from '../src/net/either-signal.ts';
import type { SignalMessage } from '../src/net/signal.ts';
import { Admission, type AdmissionOptions, type ForwardedOffer } from './admission.ts';
import { Conversation, type ConversationOptions } from './conversation.ts';
import { peerClosed } from './deployment.ts';
import { firstPath } from './first-path.ts';
import type { Network } from './network.ts';
import { Offering, type OfferTerms } from './offering.ts';
import { PendingOffers } from './pending-offers.ts';
import type { Session } from './session.ts';
import { Sightings } from './sightings.ts';

export interface IntroductionsOptions extends Omit<AdmissionOptions, 'checkRoom'> {
  readonly network: Network;
  readonly onSession: (session: Session) => void;
}

/** Two peers before anything is sent from one to the other. */
export interface Acquaintance {
  readonly here: PeerSituation;
  readonly there: PeerSituation;
  /** Between the two, as estimated by way of the rendezvous. */
  readonly roundTripMs: number;
}

/** How long a plan waits for our own NATs to be measured. */
const DIAGNOSIS_MS = 3_000;
/** Where no relay carries the session meanwhile, an offer waits this many round trips at most for our own UDP mapping, … */
const MAPPING_ROUND_TRIPS = 1.5;
/** … and at least so long, however near the rendezvous is: the first request of a process takes some time here. */
const LEAST_MAPPING_MS = 150;

/** What an offerer refuses an answer with; no offer is refused so. */
const GIVEN_UP = 'ABORTED';

/**
 * Offers and answers: the Noise handshake of each session, carried by the rendezvous, and what both ends need to
 * punch. The rendezvous routes them and reads nothing but who talks to whom.
 */
export class Introductions {
  #options: IntroductionsOptions;
  #conversations = new Map<string, Conversation>();
  #offers: PendingOffers;
  #offering: Offering;
  #admission: Admission;
  /** Aborted when no session begins any more. */
  readonly #closing = new AbortController();

  constructor(options: IntroductionsOptions) {
    this.#options = options;
    setMaxListeners(0, this.#closing.signal); // one for each session that is being opened
    this.#offers = new PendingOffers(options);
    this.#offering = new Offering(options, this.#offers);
    this.#admission = new Admission({
      ...options,
      checkRoom: (session, from) => this.#checkRoom(session, from),
    });
    options.deployment.on('message', (message) => this.#onMessage(message));
    options.deployment.on('moved', () => {
      for (const { session } of this.#conversations.values()) session.driver.question();
    });
    options.deployment.on('registered', () => {
      for (const conversation of this.#conversations.values()) conversation.rendezvousBack();
    });
    options.network.on('changed', () => {
      for (const conversation of this.#conversations.values()) conversation.networkChanged();
    });
  }

  get sessions(): Session[] {
    return [...this.#conversations.values()].map(({ session }) => session);
  }

  /** Those that begin or live by the allow list: all but a guest's that is not on it yet. */
  get admitted(): Session[] {
    return this.sessions.filter((session) => !this.#admission.isGuest(session));
  }

  /** @see Peer.connect */
  async initiate(to: PeerId, terms: OfferTerms, signal?: AbortSignal): Promise<Session> {
    const { kinds } = terms;
    const { deployment, network } = this.#options;
    if (signal?.aborted) throw notWanted();
    if (!kinds.includes('relay')) {
      // Only who is registered learns of its mapping.
      if (!deployment.registered) await deployment.whenRegistered();
      await network.mapped(Math.max(LEAST_MAPPING_MS, MAPPING_ROUND_TRIPS * deployment.roundTripMs));
    }
    const { session, told, handshake, answer, leg, read } = await this.#introduce(to, terms, signal);
    const { kinds: theirs, candidates, profile, start } = read;
    const conversation = this.#converse({
      role: 'initiator',
      id: session,
      peer: to,
      instance: answer.instance,
      keys: SessionKeys.first(handshake.result()),
      kinds: kinds.filter((kind) => theirs.includes(kind)),
      circuits: terms.circuits,
      tickets: answer.tickets,
      earlyLeg: leg,
      told,
    });
    conversation.begin({ kinds: theirs, profile, candidates: this.#sightings(to).mark(candidates) }, start);
    try {
      return await firstPath(conversation, this.#options.clock, signal);
    } catch (thrown) {
      this.#forsake(session, publicKeyOf(to), answer.instance);
      throw thrown;
    }
  }

  /** @see Peer.plan */
  async plan(to: PeerId, kinds: readonly PathChoice[], signal?: AbortSignal): Promise<Acquaintance> {
    const { network } = this.#options;
    await this.#unlessClosing(signal, (either) => network.diagnosed(DIAGNOSIS_MS, either));
    const { read } = await this.#introduce(to, { kinds, planOnly: true }, signal);
    return {
      here: { profile: network.profile, kinds },
      there: { profile: read.profile, kinds: read.kinds },
      roundTripMs: read.start.roundTripMs,
    };
  }

  /** Whoever still waits for a peer's answer waits in vain, and new offers are refused; sessions go on. */
  beginNoMore(): void {
    this.#closing.abort(peerClosed());
  }

  close(): void {
    for (const conversation of this.#conversations.values()) conversation.end();
  }

  async #introduce(to: PeerId, terms: OfferTerms, signal?: AbortSignal) {
    const introducing = this.#unlessClosing(signal, (either) => this.#offering.introduce(to, terms, either));
    return introducing.catch((thrown: unknown) => {
      const closing = this.#closing.signal;
      throw closing.aborted ? closing.reason : thrown;
    });
  }

  #unlessClosing<Result>(
    signal: AbortSignal | undefined,
    work: (either: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const closing = this.#closing.signal;
    return withEither([signal, closing], work);
  }

  /** Offers a session that lost all its paths anew; both ends have new keys then. */
  async #reoffer(conversation: Conversation, signal: AbortSignal): Promise<void> {
    const { session, nextEpoch: epoch } = conversation;
    const known = {
      session: conversation.id,
      instance: conversation.offeredTo,
      resume: { epoch, next: session.driver.nextExpected },
    };
    const terms = { kinds: session.kinds, known };
    const { handshake, answer, read } = await this.#offering.introduce(session.peer, terms, signal);
    const { kinds, profile, candidates, start } = read;
    const { instance, tickets } = answer;
    const remote = { kinds, profile, candidates: this.#sightings(session.peer).mark(candidates) };
    const result = handshake.result();
    conversation.resume({ epoch, result, offered: true, instance, remote, start, tickets });
  }

  /** Whatever others send, what can't be read has no effect. */
  #onMessage(message: SignalMessage): void {
    try {
      this.#receive(message);
    } catch (thrown) {
      if (!(thrown instanceof SallyportError)) throw thrown;
    }
  }

  #receive(message: SignalMessage): void {
    switch (message.t) {
      case 'offer':
        return this.#answer(message);
      case 'answer':
        if (!this.#isKnown(message.session) && this.#offers.takeLate(message))
          this.#forsake(message.session, message.from, message.instance);
        return this.#offers.receive(message);
      case 'refuse':
        if (message.code === GIVEN_UP) this.#conversationWith(message)?.forsaken();
        return this.#offers.receive(message);
      case 'error':
        return this.#offers.receive(message);
      case 'trickle':
        return this.#conversationWith(message)?.openBox(message.box, message.instance);
      case 'renewed':
        this.#offers.takeTickets(message.session, message.tickets);
        return this.#conversations.get(hex(message.session))?.takeTickets(message.tickets);
      case 'gone':
        for (const conversation of this.#conversations.values()) {
          void conversation.peerGone(peerIdOf(message.from), message.instance);
        }
        return;
      case 'resolved':
      case 'restarting':
        return;
    }
  }

  /** Only the session's own peer is heard. */
  #conversationWith(message: { session: Uint8Array; from: Uint8Array }): Conversation | undefined {
    const conversation = this.#conversations.get(hex(message.session));
    return conversation?.session.peer === peerIdOf(message.from) ? conversation : undefined;
  }

  /** Tells a peer that what it answered was given up meanwhile: it would hold a place for the session, and look for paths, until nobody came. */
  #forsake(session: Uint8Array, to: Uint8Array, instance: Uint8Array): void {
    this.#options.deployment.send({ t: 'refuse', session, to, instance, code: GIVEN_UP });
  }

  #answer(message: ForwardedOffer): void {
    const { session, instance } = message;
    const from = peerIdOf(message.from);
    if (!this.#admission.isFresh(message, from)) return;
    try {
      const known = this.#goingOn(message, from);
      if (known) this.#acceptAgain(known, message);
      else this.#accept(message, from);
    } catch (thrown) {
      const { code } = asSallyportError(thrown);
      this.#options.deployment.send({ t: 'refuse', session, to: message.from, instance, code });
    }
  }

  /** The session that an offer is for, where there is one with this peer, and the peer is still allowed. */
  #goingOn({ session }: ForwardedOffer, from: PeerId): Conversation | undefined {
    const { grantOf, isDenied } = this.#options;
    const known = this.#conversations.get(hex(session));
    if (known?.session.peer !== from || isDenied(from)) return undefined;
    return known.session.role === 'initiator' || grantOf(from) ? known : undefined;
  }

  /**
   * The peer has lost all paths of the session, and offers it anew.
   * @throws SallyportError whose code is all that it is told
   */
  #acceptAgain(known: Conversation, { session, noise, instance, tickets }: ForwardedOffer): void {
    const { identity, deployment, network } = this.#options;
    const { peer, driver } = known.session;
    const handshake = this.#admission.responding(session, peer);
    const offer = decodeOffer(handshake.read(noise));
    if (!offer.resume) throw new SallyportError('PROTOCOL_ERROR', 'the session id is in use');
    // Both offer: that of the lower id stands.
    if (this.#offers.has(session) && identity.id < peer) return;
    this.#offers.withdraw(session);
    if (!driver.hasSent(offer.resume.next)) throw unknownSession();
    const start = this.#startOf(offer);
    const told = network.publicFace(known.session.kinds);
    const { kinds, profile, candidates } = offer;
    const answer = encodeAnswer({ version: INTRODUCTION_VERSION, kinds, ...told, start });
    const reply = handshake.write(answer);
    const remote = { kinds, profile, candidates: this.#sightings(peer).mark(candidates) };
    const { epoch } = offer.resume;
    known.resume({ epoch, result: handshake.result(), offered: false, instance, remote, start, tickets });
    deployment.send({ t: 'answer', session, to: publicKeyOf(peer), instance, noise: reply });
  }

  /** @throws SallyportError whose code is all that the offerer is told */
  #accept(message: ForwardedOffer, from: PeerId): void {
    const { deployment, network } = this.#options;
    const { session, instance } = message;
    const { offer, admit, handshake } = this.#admission.open(message, from);
    if (this.#closing.signal.aborted) throw new SallyportError('PEER_OFFLINE', 'this peer is being closed');
    if (offer.resume) throw unknownSession();
    const start = this.#startOf(offer);
    const kinds: PathChoice[] = ['udp', 'tcp', 'relay'];
    const told = network.publicFace(offer.kinds);
    const answer = encodeAnswer({ version: INTRODUCTION_VERSION, kinds, ...told, start });
    const reply = {
      t: 'answer',
      session,
      to: message.from,
      instance,
      noise: handshake.write(answer),
    } as const;
    deployment.send(reply);
    if (offer.planOnly) return;
    const conversation = this.#converse({
      role: 'responder',
      id: session,
      peer: from,
      instance,
      keys: SessionKeys.first(handshake.result()),
      kinds: offer.kinds,
      circuits: offer.circuits,
      tickets: message.tickets,
      told,
      answerAgain: () => void deployment.send(reply),
    });
    if (admit) this.#admission.expectGuest(conversation.session, admit);
    const { kinds: theirs, profile, candidates } = offer;
    conversation.begin({ kinds: theirs, profile, candidates: this.#sightings(from).mark(candidates) }, start);
  }

  /** It lives here, or was offered by this end and isn't answered yet. */
  #isKnown(session: Uint8Array): boolean {
    return this.#conversations.has(hex(session)) || this.#offers.has(session);
  }

  /** @throws SallyportError `PROTOCOL_ERROR` for a session id that is in use, `LIMIT` */
  #checkRoom(session: Uint8Array, from: PeerId): void {
    if (this.#isKnown(session)) {
      throw new SallyportError('PROTOCOL_ERROR', 'the session id is in use');
    }
    const all = [...this.#conversations.values()];
    const theirs = all.filter((conversation) => conversation.session.peer === from);
    const unconfirmed = all.filter(({ confirmed }) => !confirmed);
    const theirUnconfirmed = theirs.filter(({ confirmed }) => !confirmed);
    // No peer has more than is left for all others (dynamic thresholds; Choudhury and Hahne, 1998): some can't keep everybody out.
    const free = LIMITS.unconfirmed - unconfirmed.length;
    if (theirs.length >= LIMITS.sessionsPerPeer || theirUnconfirmed.length >= free) {
      throw new SallyportError('LIMIT', 'too many sessions');
    }
  }

  #startOf(offer: Offer): RoundStart {
    const { deployment } = this.#options;
    const roundTripMs = Math.min(MAX_ROUND_TRIP_MS, deployment.roundTripMs + offer.roundTripMs);
    const leadMs = startLeadMs(roundTripMs, offer.kinds.includes('relay'));
    return { at: deployment.serverTime() + leadMs, roundTripMs };
  }

  #sightings(peer: PeerId): Sightings {
    return new Sightings(this.#options.deployment, peer);
  }

  #converse(
    options: Omit<ConversationOptions, 'identity' | 'network' | 'deployment' | 'clock' | 'reoffer'>,
  ): Conversation {
    const { identity, network, deployment, clock } = this.#options;
    const reoffer = (conversation: Conversation, signal: AbortSignal) => this.#reoffer(conversation, signal);
    const conversation = new Conversation({
      ...options,
      identity,
      network,
      deployment,
      clock,
      reoffer,
    });
    const key = conversation.session.id;
    this.#conversations.set(key, conversation);
    conversation.session.on('closed', () => this.#conversations.delete(key));
    this.#options.onSession(conversation.session);
    return conversation;
  }
}

function unknownSession(): SallyportError {
  return new SallyportError('SESSION_UNKNOWN', 'no such session, or not as far as that');
}
