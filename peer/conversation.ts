import { equalBytes } from '../src/core/bytes.ts';
import { SallyportError } from '../src/core/errors.ts';
import { publicKeyOf, type Identity, type PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { NatProfile } from '../src/core/nat/behavior.ts';
import type { Candidate } from '../src/core/punch/candidate.ts';
import type { RemoteCandidate } from '../src/core/punch/events.ts';
import type { CircuitKind } from '../src/core/session/events.ts';
import type { PathChoice } from '../src/core/punch/situation.ts';
import type { Round, RoundStart } from '../src/core/session/introduction.ts';
import { Epochs } from '../src/core/session/epochs.ts';
import type { HandshakeResult } from '../src/core/session/handshake.ts';
import type { SessionKeys } from '../src/core/session/keys.ts';
import type { SessionRole } from '../src/core/session/role.ts';
import type { Clock } from '../src/net/clock.ts';
import { Correspondence, type PeerNews } from './correspondence.ts';
import type { Deployment } from './deployment.ts';
import type { EarlyLeg } from './early-leg.ts';
import type { Network } from './network.ts';
import { PathRotation } from './path-rotation.ts';
import { PathSources } from './path-sources.ts';
import { REFRESH_MS } from './punching.ts';
import { Resumption } from './resumption.ts';
import { Session } from './session.ts';

export interface ConversationOptions {
  readonly role: SessionRole;
  readonly id: Uint8Array;
  readonly peer: PeerId;
  /** The peer's registration that this session was introduced with. */
  readonly instance: Uint8Array;
  readonly keys: SessionKeys;
  /** What both ends allow. */
  readonly kinds: readonly PathChoice[];
  /** Offers the session anew, with new keys. Resolves when that is done, rejects where it wasn't possible. */
  readonly reoffer: (conversation: Conversation, signal: AbortSignal) => Promise<void>;
  /** Of which kinds our leg may be; any by default. */
  readonly circuits?: readonly CircuitKind[] | undefined;
  readonly tickets: readonly Uint8Array[];
  /** Sends our answer once more; whoever has had it passes it over. */
  readonly answerAgain?: (() => void) | undefined;
  /** Our leg of its first circuit, where that was opened before. */
  readonly earlyLeg?: EarlyLeg | undefined;
  /** Of our network, in the offer or the answer. */
  readonly told: { readonly candidates: readonly Candidate[]; readonly profile: NatProfile };
  readonly identity: Identity;
  readonly network: Network;
  readonly deployment: Deployment;
  readonly clock: Clock;
}

interface PeerFace {
  readonly kinds: readonly PathChoice[];
  readonly profile: NatProfile;
  readonly candidates: readonly RemoteCandidate[];
}

/** What came of offering a session anew. */
export interface Resumed {
  readonly epoch: number;
  readonly result: HandshakeResult;
  readonly offered: boolean;
  /** The peer's registration by now. */
  readonly instance: Uint8Array;
  readonly remote: PeerFace;
  readonly start: RoundStart;
  /** Those that came with it, for the leg of whoever offered or answered. */
  readonly tickets: readonly Uint8Array[];
}

/** Most circuits stand by then, where the relay is all that is allowed. */
const CIRCUIT_MS = 1_000;

/**
 * Everything around one session that keeps it reachable, for as long as it lives: where its paths come from, what the
 * two ends tell each other of their networks, and another handshake when all paths are lost.
 */
export class Conversation {
  readonly session: Session;
  #options: ConversationOptions;
  #epochs: Epochs;
  /** Those of the current keys. */
  #sources: PathSources;
  #tickets: readonly Uint8Array[];
  #correspondence: Correspondence;
  #resumption: Resumption;
  #rotation: PathRotation;
  #cancelExpiry: (() => void) | undefined;
  #cancelCheck: (() => void) | undefined;

  constructor(options: ConversationOptions) {
    const { role, id, peer, keys, kinds, clock, deployment } = options;
    this.#options = options;
    this.#epochs = new Epochs(keys);
    this.#tickets = options.tickets;
    this.session = new Session({ role, id, peer, keys, kinds, clock });
    this.#correspondence = new Correspondence({
      ...options,
      session: this.session,
      mayTell: () => this.#sources.punching.allowed && this.confirmed && !this.session.end,
      onTelling: () => this.#sources.punching.refreshLocal(),
      onHeard: (news, round) => this.#onHeard(news, round),
    });
    this.#sources = this.#newSources(keys, role === 'initiator', options.earlyLeg);
    this.#resumption = new Resumption({
      session: this.session,
      clock,
      reoffer: (signal) => options.reoffer(this, signal),
    });
    this.session.driver.on('path', (event) => this.#sources.follow(event));
    const rotate = () => void this.#sources.punching.rotate();
    this.#rotation = new PathRotation({ session: this.session, clock, rotate });
    // Whoever got through TLS holds the session's keys.
    this.session.on('attached', () => {
      this.#epochs.prove();
      this.#confirm();
    });
    this.session.driver.on('need-path', () => {
      deployment.check();
      this.#sources.hurry();
    });
    this.session.on('closed', () => this.end());
    if (!this.confirmed) this.#cancelExpiry = clock.setTimer(() => this.#expire(), LIMITS.confirmationMs);
  }

  /** The peer has proven that it holds the session's keys; the initiator has, by its answer. */
  get confirmed(): boolean {
    return this.#sources.punching.confirmed;
  }

  get id(): Uint8Array {
    return this.#options.id;
  }

  /** The epoch that an offer of ours for this session is to begin. */
  get nextEpoch(): number {
    return this.#epochs.next;
  }

  /** The peer's registration that offers of ours go to: the initiator offers to whoever listens, since it did so before. */
  get offeredTo(): Uint8Array | undefined {
    return this.session.role === 'initiator' ? undefined : this.#correspondence.instance;
  }

  /** Both ends have the keys: dial the relay, and punch a moment later. */
  begin(remote: PeerFace, start: RoundStart): void {
    this.#checkSignalling();
    const { punching } = this.#sources;
    this.#sources.openCircuit(this.#tickets);
    if (!punching.allowed) return this.#introduceUnlessConnected();
    this.#sources.afterHeadStart(() => {
      // Host addresses follow under the session's keys. Where the circuit has not yet confirmed these to the answerer, which punches only then, the
      // initiator's first box does; so it leaves before anything else is done.
      this.#introduceNetwork();
      punching.begin(0, start, remote);
    });
  }

  /** A sealed update from the peer, through the rendezvous. */
  openBox(box: Uint8Array, instance: Uint8Array): void {
    this.#correspondence.openBox(box, instance);
  }

  /**
   * Goes on with the keys of a new handshake, all that was attached or begun with those before being given up.
   * @param offered by this end; the other end's keys are proven then
   * @throws SallyportError `PROTOCOL_ERROR` where that epoch doesn't follow
   */
  resume({ epoch, result, offered, instance, remote, start, tickets }: Resumed): void {
    if (this.session.end) return; // while the offer was under way
    const keys = this.#epochs.renew(epoch, result);
    if (!keys) throw new SallyportError('PROTOCOL_ERROR', `epoch ${epoch} does not follow`);
    this.#sources.stop();
    this.session.renew(keys);
    this.#correspondence.renew(keys, instance);
    this.#sources = this.#newSources(keys, offered);
    this.#resumption.resumed();
    // The session's relays may be others by now. Whoever offers has a circuit's first leg, which is the initiator's in this session.
    const areOurs = offered === (this.session.role === 'initiator');
    if (areOurs && tickets.length > 0) this.#tickets = tickets;
    this.begin(remote, start);
    if (!areOurs) this.#renewTickets();
  }

  /** The rendezvous is there again: what waited for it does so no longer, and what may be lost is sent again. */
  rendezvousBack(): void {
    this.#resumption.hurry();
    this.session.driver.reconnected();
    if (this.session.path || this.session.end) return;
    if (!this.confirmed) return this.#options.answerAgain?.();
    this.#correspondence.forgotten();
    this.#introduceNetwork();
  }

  takeTickets(tickets: readonly Uint8Array[]): void {
    if (tickets.length > 0) this.#tickets = tickets;
    this.#sources.takeTickets(tickets);
  }

  /** Something about our own network was measured, or changed. */
  networkChanged(): void {
    this.#sources.afterHeadStart(() => {
      this.#sources.punching.refreshLocal();
      this.#correspondence.tellSoon();
    });
  }

  /** The rendezvous has evidence that the peer's process is gone; a path that answers knows better. */
  async peerGone(peer: PeerId, instance: Uint8Array): Promise<void> {
    if (peer !== this.session.peer || !equalBytes(instance, this.#correspondence.instance)) return;
    if (!(await this.session.answers())) this.session.driver.destroy('PEER_LOST', 'the peer is gone');
  }

  /** The peer has no use for the session, or had given up before it heard of our answer; by a path it would have said so itself. */
  forsaken(): void {
    if (!this.session.path) this.session.driver.destroy('ABORTED', 'the peer no longer wants the session');
  }

  /** Why there is no path, for whoever waited for one. */
  noPath(): SallyportError {
    const { relayedBecause: why } = this.session;
    const isReason = why !== undefined && why.code !== 'NOT_ALLOWED'; // which is why there is no direct one
    const text = isReason ? why.text : 'neither the relay nor a direct path answered';
    return new SallyportError('NO_PATH', text, { hint: 'run with --explain to see what was tried' });
  }

  end(): void {
    this.#correspondence.stop();
    this.#cancelExpiry?.();
    this.#cancelCheck?.();
    this.#resumption.stop();
    this.#rotation.stop();
    this.#sources.stop();
  }

  #newSources(keys: SessionKeys, confirmed: boolean, earlyLeg?: EarlyLeg): PathSources {
    return new PathSources({
      ...this.#options,
      keys,
      confirmed,
      earlyLeg,
      session: this.session,
      correspondence: this.#correspondence,
      renewTickets: () => this.#renewTickets(),
    });
  }

  #confirm(): void {
    if (this.confirmed) return;
    this.#cancelExpiry?.();
    this.#sources.confirm();
    this.#sources.afterHeadStart(() => this.#correspondence.tell());
  }

  #expire(): void {
    this.session.driver.destroy('TIMEOUT', 'the peer did not prove that it holds the keys of the session');
  }

  /** Our network, or at least that we hold the keys. */
  #introduceNetwork(): void {
    if (this.#sources.punching.allowed) this.#correspondence.tell();
    else if (this.confirmed) this.#correspondence.proveKeys();
  }

  #introduceUnlessConnected(): void {
    const introduce = () => this.session.path || this.session.end || this.#introduceNetwork();
    this.#options.clock.setTimer(introduce, CIRCUIT_MS);
  }

  /** Everything goes by the rendezvous until there is a path. */
  #checkSignalling(): void {
    this.#cancelCheck?.();
    const isAwaited = () => !this.session.path && !this.session.end;
    this.#cancelCheck = this.#options.deployment.checkWhile(isAwaited);
  }

  #onHeard(news: PeerNews, round: Round | undefined): void {
    this.#confirm();
    const { punching } = this.#sources;
    this.#sources.afterHeadStart(() => {
      if (round?.fresh) void punching.beginFresh(round.number, round.start, news);
      else if (round && punching.begin(round.number, round.start, news)) void this.#tellAnew();
      else punching.learn(news);
    });
  }

  /** The peer proposed a round: it has forgotten what it knew of our network. */
  async #tellAnew(): Promise<void> {
    await this.#options.network.refreshed(REFRESH_MS);
    this.#correspondence.forgotten();
    this.#correspondence.tell();
  }

  #renewTickets(): void {
    const { id, peer, role, deployment } = this.#options;
    if (!deployment.hasRelays) return;
    deployment.send({ t: 'renew', session: id, peer: publicKeyOf(peer), leg: role === 'initiator' ? 0 : 1 });
  }
}
