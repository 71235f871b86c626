import { randomBytes } from 'node:crypto';
import { hex } from '../src/core/bytes.ts';
import { asSallyportError, SallyportError } from '../src/core/errors.ts';
import { peerIdOf, publicKeyOf, type Identity, type PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import { isAttested } from '../src/core/protocol/attestation.ts';
import { verifyOffer } from '../src/core/protocol/auth.ts';
import type { MessageTo, ToNode } from '../src/core/protocol/rendezvous.ts';
import type { Candidate } from '../src/core/punch/candidate.ts';
import type { PortSample, RemoteCandidate } from '../src/core/punch/events.ts';
import type { CircuitKind } from '../src/core/session/events.ts';
import type { PathChoice, PeerSituation } from '../src/core/punch/situation.ts';
import { ephemeralOf, Handshake } from '../src/core/session/handshake.ts';
import {
  decodeAnswer,
  decodeOffer,
  encodeAnswer,
  encodeOffer,
  INTRODUCTION_VERSION,
  MAX_ROUND_TRIP_MS,
  MAX_START_LEAD_MS,
  type Offer,
  type RoundStart,
} from '../src/core/session/introduction.ts';
import { proveInvite } from '../src/core/invite.ts';
import { SessionKeys } from '../src/core/session/keys.ts';
import type { Clock } from '../src/net/clock.ts';
import { deferred } from '../src/net/deferred.ts';
import type { SignalMessage } from '../src/net/signal.ts';
import type { Grant } from './allow-list.ts';
import { Conversation } from './conversation.ts';
import type { Deployment } from './deployment.ts';
import type { InviteFolder, OpenInvite } from './invite-folder.ts';
import type { Network } from './network.ts';
import { ANSWER_TIMEOUT_MS, PendingOffers } from './pending-offers.ts';
import { ReplayMemory } from './replay-memory.ts';
import type { Session } from './session.ts';

export interface IntroductionsOptions {
  readonly identity: Identity;
  readonly network: Network;
  readonly deployment: Deployment;
  readonly clock: Clock;
  readonly grantOf: (id: PeerId) => Grant | undefined;
  /** No invite helps a peer that is denied by name. */
  readonly isDenied: (id: PeerId) => boolean;
  readonly invites: InviteFolder;
  /** A guest is in a session. @throws SallyportError `NOT_AUTHORIZED` where its invite was used meanwhile */
  readonly onGuest: (guest: PeerId, invite: OpenInvite) => void;
  readonly onSession: (session: Session) => void;
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

type Forwarded<Name extends ToNode['t']> = MessageTo<ToNode, Name>;

/** Two peers before anything is sent from one to the other. */
export interface Acquaintance {
  readonly here: PeerSituation;
  readonly there: PeerSituation;
  /** Between the two, as estimated by way of the rendezvous. */
  readonly roundTripMs: number;
}

/** How long a plan waits for our own NATs to be measured. */
const DIAGNOSIS_MS = 3_000;
/** After the answer's arrival at the initiator, by the answerer's estimate: a quarter of the round trip, and at most so much. */
const START_MARGIN_MS = 10;
/** How far our idea of the rendezvous's clock may be behind. */
const CLOCK_TOLERANCE_MS = 5_000;
/** Without the relay, `connect` waits this long for a direct path. */
const FIRST_PATH_MS = 15_000;
/** Where no relay carries the session meanwhile, an offer waits this many round trips at most for our own UDP mapping. */
const MAPPING_ROUND_TRIPS = 1.5;

/**
 * Offers and answers: the Noise handshake of each session, carried by the rendezvous, and what both ends need to
 * punch. The rendezvous routes them and reads nothing but who talks to whom.
 */
export class Introductions {
  #options: IntroductionsOptions;
  #conversations = new Map<string, Conversation>();
  /** Sessions whose invite isn't used up, since their keys aren't proven yet. */
  #guests = new Set<Session>();
  #offers: PendingOffers;
  #replays: ReplayMemory;

  constructor(options: IntroductionsOptions) {
    this.#options = options;
    this.#replays = new ReplayMemory(LIMITS.offerReplayWindowMs, options.clock);
    this.#offers = new PendingOffers(options);
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
    return this.sessions.filter((session) => !this.#guests.has(session));
  }

  /** @see Peer.connect */
  async initiate(to: PeerId, terms: OfferTerms, signal?: AbortSignal): Promise<Session> {
    const { kinds } = terms;
    const { deployment, network } = this.#options;
    if (signal?.aborted) throw new SallyportError('ABORTED', 'no longer wanted');
    if (!kinds.includes('relay')) await network.mapped(MAPPING_ROUND_TRIPS * deployment.roundTripMs);
    const { session, told, handshake, answer, read } = await this.#introduce(to, terms, signal);
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
      told,
    });
    conversation.begin({ kinds: theirs, profile, candidates: this.#vouched(candidates, to) }, start);
    return this.#usable(conversation, signal);
  }

  /** @see Peer.plan */
  async plan(to: PeerId, kinds: readonly PathChoice[], signal?: AbortSignal): Promise<Acquaintance> {
    const { network } = this.#options;
    await network.diagnosed(DIAGNOSIS_MS, signal);
    if (signal?.aborted) throw new SallyportError('ABORTED', 'no longer wanted');
    const { read } = await this.#introduce(to, { kinds, planOnly: true }, signal);
    return {
      here: { profile: network.profile, kinds },
      there: { profile: read.profile, kinds: read.kinds },
      roundTripMs: read.start.roundTripMs,
    };
  }

  close(): void {
    for (const conversation of this.#conversations.values()) conversation.end();
  }

  /** Offers a session that lost all its paths anew; both ends have new keys then. */
  async #reoffer(conversation: Conversation): Promise<void> {
    const { session, nextEpoch: epoch, offeredTo: instance } = conversation;
    const known = {
      session: conversation.id,
      instance,
      resume: { epoch, next: session.driver.nextExpected },
    };
    const { handshake, answer, read } = await this.#introduce(session.peer, { kinds: session.kinds, known });
    const { kinds, profile, candidates, start } = read;
    const remote = { kinds, profile, candidates: this.#vouched(candidates, session.peer) };
    const result = handshake.result();
    conversation.resume({ epoch, result, offered: true, instance: answer.instance, remote, start });
  }

  /** An offer, and the answer to it as far as the handshake proves it. One that was lost is made anew. */
  async #introduce(to: PeerId, terms: AnyTerms, signal?: AbortSignal) {
    const giveUpAt = this.#options.clock.now() + ANSWER_TIMEOUT_MS;
    for (;;) {
      const introduced = await this.#offer(to, terms, giveUpAt, signal);
      if (introduced) return introduced;
    }
  }

  /** `undefined` where the offer or its answer was lost on the way. */
  async #offer(
    to: PeerId,
    { kinds, circuits, inviteSecret, planOnly, known }: AnyTerms,
    giveUpAt: number,
    signal?: AbortSignal,
  ) {
    const { identity, deployment, network } = this.#options;
    const session = known?.session ?? new Uint8Array(randomBytes(16));
    const context = { initiator: identity.id, responder: to, rendezvous: deployment.id, session };
    const handshake = Handshake.initiator(identity, context);
    const told = network.publicFace(kinds);
    const offer = encodeOffer({
      version: INTRODUCTION_VERSION,
      kinds: [...kinds],
      ...(circuits && { circuits: [...circuits] }),
      ...told,
      roundTripMs: Math.min(MAX_ROUND_TRIP_MS, deployment.roundTripMs),
      ...(planOnly && { planOnly }),
      ...(inviteSecret && { invite: proveInvite(inviteSecret, context) }),
      ...(known && { resume: known.resume }),
    });
    const noise = writeFirst(handshake, offer);
    const answer = await this.#offers.send(
      { to, session, noise, instance: known?.instance },
      giveUpAt,
      signal,
    );
    return answer && { session, told, handshake, answer, read: decodeAnswer(handshake.read(answer.noise)) };
  }

  /** Resolves once the session has its first path. */
  async #usable(conversation: Conversation, signal?: AbortSignal): Promise<Session> {
    const { session } = conversation;
    const usable = deferred<Session>();
    const fail = (error: SallyportError) => usable.reject(error);
    const abort = () => fail(new SallyportError('ABORTED', 'no longer wanted'));
    const cancel = this.#options.clock.setTimer(() => fail(conversation.noPath()), FIRST_PATH_MS);
    session.on('attached', () => usable.resolve(session));
    session.on('closed', ({ code, message }) => fail(new SallyportError(code ?? 'SESSION_CLOSED', message)));
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    try {
      return await usable.promise;
    } catch (thrown) {
      const { code, message } = asSallyportError(thrown);
      session.driver.destroy(code, message);
      throw thrown;
    } finally {
      cancel();
      signal?.removeEventListener('abort', abort);
    }
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
      case 'refuse':
      case 'error':
        return this.#offers.receive(message);
      case 'trickle':
        return this.#conversationWith(message)?.openBox(message.box, message.instance);
      case 'renewed':
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

  #answer(message: Forwarded<'offer'>): void {
    const { session, instance } = message;
    const from = peerIdOf(message.from);
    if (!this.#isFresh(message, from)) return;
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
  #goingOn({ session }: Forwarded<'offer'>, from: PeerId): Conversation | undefined {
    const { grantOf, isDenied } = this.#options;
    const known = this.#conversations.get(hex(session));
    if (known?.session.peer !== from || isDenied(from)) return undefined;
    return known.session.role === 'initiator' || grantOf(from) ? known : undefined;
  }

  /**
   * The peer has lost all paths of the session, and offers it anew.
   * @throws SallyportError whose code is all that it is told
   */
  #acceptAgain(known: Conversation, { session, noise, instance }: Forwarded<'offer'>): void {
    const { identity, deployment, network } = this.#options;
    const { peer, driver } = known.session;
    const handshake = this.#responding(session, peer);
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
    const remote = { kinds, profile, candidates: this.#vouched(candidates, peer) };
    const { epoch } = offer.resume;
    known.resume({ epoch, result: handshake.result(), offered: false, instance, remote, start });
    deployment.send({ t: 'answer', session, to: publicKeyOf(peer), instance, noise: reply });
  }

  /** @throws SallyportError whose code is all that the offerer is told */
  #accept(message: Forwarded<'offer'>, from: PeerId): void {
    const { deployment, network } = this.#options;
    const { session, instance } = message;
    const { offer, invite, handshake } = this.#read(message, from);
    if (offer.resume) throw unknownSession();
    const start = this.#startOf(offer);
    const kinds: PathChoice[] = ['udp', 'tcp', 'relay'];
    const told = network.publicFace(offer.kinds);
    const answer = encodeAnswer({
      version: INTRODUCTION_VERSION,
      kinds,
      ...told,
      start,
    });
    deployment.send({ t: 'answer', session, to: message.from, instance, noise: handshake.write(answer) });
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
    });
    if (invite) this.#expectGuest(conversation.session, invite);
    const { kinds: theirs, profile, candidates } = offer;
    conversation.begin({ kinds: theirs, profile, candidates: this.#vouched(candidates, from) }, start);
  }

  /** An offer, opened if its sender is allowed or may be a guest. To anybody else every failure is the same refusal. */
  #read(message: Forwarded<'offer'>, from: PeerId) {
    const { grantOf, isDenied, invites } = this.#options;
    if (grantOf(from)) return this.#readAllowed(message, from);
    if (isDenied(from) || invites.isEmpty) throw notAllowed();
    try {
      const read = this.#readAllowed(message, from);
      if (read.invite) return read;
    } catch (thrown) {
      if (!(thrown instanceof SallyportError)) throw thrown;
    }
    throw notAllowed();
  }

  #readAllowed({ session, noise }: Forwarded<'offer'>, from: PeerId) {
    const { invites } = this.#options;
    this.#checkLimits(session, from);
    const handshake = this.#responding(session, from);
    const offer = decodeOffer(handshake.read(noise));
    if (offer.version !== INTRODUCTION_VERSION)
      throw new SallyportError('VERSION_UNSUPPORTED', 'another version');
    return { offer, handshake, invite: offer.invite && invites.check(offer.invite, handshake.context) };
  }

  #responding(session: Uint8Array, from: PeerId): Handshake {
    const { identity, deployment } = this.#options;
    const context = { initiator: from, responder: identity.id, rendezvous: deployment.id, session };
    return Handshake.responder(identity, context);
  }

  /** The invite is used up by the first path, which takes the session's keys, and not by an offer that somebody repeats. */
  #expectGuest(session: Session, invite: OpenInvite): void {
    this.#guests.add(session);
    session.on('closed', () => this.#guests.delete(session));
    session.once('attached', () => {
      this.#guests.delete(session);
      try {
        this.#options.onGuest(session.peer, invite);
      } catch (thrown) {
        const { code, message } = asSallyportError(thrown);
        session.driver.destroy(code, message);
      }
    });
  }

  /**
   * An offer that the rendezvous did not attest within the last minute, or that was seen before, is a replay: it gets
   * no answer of any kind. One from the future could be replayed once it is forgotten here.
   */
  #isFresh({ session, noise, time, signature }: Forwarded<'offer'>, from: PeerId): boolean {
    const { deployment } = this.#options;
    const age = deployment.serverTime() - time;
    if (age > LIMITS.attestationLifetimeMs || age < -CLOCK_TOLERANCE_MS) return false;
    if (!verifyOffer(deployment.id, signature, { from, session, noise, time })) return false;
    return this.#replays.isFirst(ephemeralOf(noise));
  }

  /** @throws SallyportError `PROTOCOL_ERROR` for a session id that is in use, `LIMIT` */
  #checkLimits(session: Uint8Array, from: PeerId): void {
    const key = hex(session);
    if (this.#conversations.has(key) || this.#offers.has(session)) {
      throw new SallyportError('PROTOCOL_ERROR', 'the session id is in use');
    }
    const all = [...this.#conversations.values()];
    const theirs = all.filter((conversation) => conversation.session.peer === from);
    const unconfirmed = all.filter(({ confirmed }) => !confirmed);
    const theirUnconfirmed = theirs.filter(({ confirmed }) => !confirmed);
    if (
      theirs.length >= LIMITS.sessionsPerPeer ||
      theirUnconfirmed.length >= LIMITS.unconfirmedPerPeer ||
      unconfirmed.length >= LIMITS.unconfirmed
    ) {
      throw new SallyportError('LIMIT', 'too many sessions');
    }
  }

  /** T0 is when the answer reaches the initiator, by the answerer's reckoning, and a little more. */
  #startOf(offer: Offer): RoundStart {
    const { deployment } = this.#options;
    const roundTripMs = Math.min(MAX_ROUND_TRIP_MS, deployment.roundTripMs + offer.roundTripMs);
    const leadMs = Math.min(MAX_START_LEAD_MS, roundTripMs / 2 + Math.min(START_MARGIN_MS, roundTripMs / 4));
    return { at: deployment.serverTime() + leadMs, roundTripMs };
  }

  #converse(
    options: Pick<
      ConstructorParameters<typeof Conversation>[0],
      'role' | 'id' | 'peer' | 'instance' | 'keys' | 'kinds' | 'circuits' | 'tickets' | 'told'
    >,
  ): Conversation {
    const { identity, network, deployment, clock } = this.#options;
    const vouch = (candidates: readonly Candidate[]) => this.#vouched(candidates, options.peer);
    const date = (samples: readonly Candidate[]) => this.#dated(samples, options.peer);
    const reoffer = (conversation: Conversation) => this.#reoffer(conversation);
    const conversation = new Conversation({
      ...options,
      identity,
      network,
      deployment,
      clock,
      vouch,
      date,
      reoffer,
    });
    const key = conversation.session.id;
    this.#conversations.set(key, conversation);
    conversation.session.on('closed', () => this.#conversations.delete(key));
    this.#options.onSession(conversation.session);
    return conversation;
  }

  /** Marks the candidates at which the rendezvous itself saw the peer. */
  #vouched(candidates: readonly Candidate[], peer: PeerId): RemoteCandidate[] {
    const { deployment } = this.#options;
    const now = deployment.serverTime();
    return candidates.map((candidate) => ({
      ...candidate,
      attested: isAttested(candidate, peer, deployment.id, now),
    }));
  }

  /** When the rendezvous itself saw the peer there, by our clock. */
  #dated(samples: readonly Candidate[], peer: PeerId): PortSample[] {
    const { deployment } = this.#options;
    const now = deployment.serverTime();
    return samples
      .filter((sample) => isAttested(sample, peer, deployment.id, now))
      .map((sample) => ({ ...sample, seenAt: deployment.toLocal(sample.attestation!.time) }));
  }
}

function unknownSession(): SallyportError {
  return new SallyportError('SESSION_UNKNOWN', 'no such session, or not as far as that');
}

function notAllowed(): SallyportError {
  return new SallyportError('NOT_AUTHORIZED', 'not on the allow list');
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
