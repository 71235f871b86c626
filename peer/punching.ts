import type { PeerId } from '../src/core/identity.ts';
import type { Instant } from '../src/core/machine.ts';
import type { NatProfile } from '../src/core/nat/behavior.ts';
import { newerProfile } from '../src/core/nat/merge.ts';
import type { Candidate } from '../src/core/punch/candidate.ts';
import type { PortSample, RemoteCandidate } from '../src/core/punch/events.ts';
import type { TransportObstacle } from '../src/core/punch/obstacle.ts';
import { verdictOf, type Verdict } from '../src/core/punch/verdict.ts';
import type { PathChoice } from '../src/core/punch/situation.ts';
import { KEEPALIVE_MS, keepaliveMs } from '../src/core/session/keepalive.ts';
import { MAX_START_LEAD_MS, type Round, type RoundStart } from '../src/core/session/introduction.ts';
import type { SessionKeys } from '../src/core/session/keys.ts';
import type { SessionRole } from '../src/core/session/role.ts';
import { TokenBucket } from '../src/core/token-bucket.ts';
import type { Clock } from '../src/net/clock.ts';
import { openFreshPort, type FreshPort } from './fresh-port.ts';
import type { Network } from './network.ts';
import { PunchingBackoff } from './punching-backoff.ts';
import { PunchingRound } from './punching-round.ts';
import { Circumstances, type Face } from './circumstances.ts';
import type { TraceLine } from './trace.ts';
import type { DirectPath } from './traversal.ts';

export interface PunchingOptions {
  readonly role: SessionRole;
  readonly peer: PeerId;
  readonly keys: SessionKeys;
  /** The peer has proven that it holds them. */
  readonly confirmed: boolean;
  readonly kinds: readonly PathChoice[];
  readonly network: Network;
  readonly clock: Clock;
  /** An instant by the rendezvous's clock, as one by ours. */
  readonly toLocal: (serverTime: number) => Instant;
  /** Tells the peer to start this round with us; false where there is no way to tell it. */
  readonly propose: (round: Round) => boolean;
  /** Tells the peer of a port for a fresh round, and proposes that round unless the peer did. */
  readonly tellFresh: (candidate: Candidate, round?: Round) => void;
  /** Tells the peer at once where this end's NAT counts its ports. */
  readonly tellSample: (candidate: Candidate) => void;
  readonly serverTime: () => number;
  readonly onPath: (path: DirectPath) => void;
  readonly onTrace: (line: TraceLine) => void;
  /** How often direct paths have to be used, by what is known of both ends' NATs. */
  readonly onKeepalive: (everyMs: number) => void;
  /** A round ended without any direct path. */
  readonly onFailed: (verdict: Verdict) => void;
}

/** What the peer says of its network. */
interface News {
  kinds?: readonly PathChoice[] | undefined;
  profile?: NatProfile | undefined;
  candidates?: readonly RemoteCandidate[] | undefined;
  samples?: readonly PortSample[] | undefined;
}

/** Until a proposal that found no way to the peer is made again. */
const UNTOLD_MS = 300;

/** Of a round trip that no round has told yet. */
const UNKNOWN_MS = 100;

/** How long fresh mappings are waited for in a new round. */
export const REFRESH_MS = 1_000;

/** Rounds, whoever proposes them: a peer can't make us punch without end. */
const ROUNDS = { perSecond: 10 / 60, burst: 4 };

/**
 * Hole punching of one session: a round with the introduction, and others when a direct path is lost or still wanted.
 * Either end may propose one, which the other joins.
 */
export class Punching {
  #options: PunchingOptions;
  /** The latest, whether or not it is over. */
  #round: PunchingRound | undefined;
  /** Another is about to be proposed. */
  #isPreparing = false;
  /** The fresh round of the peer's that a port is being opened for. */
  #joining: number | undefined;
  #keepaliveMs = KEEPALIVE_MS;
  #circumstances = new Circumstances();
  #theirKinds: readonly PathChoice[] = ['udp', 'tcp', 'relay'];
  #directPaths = 0;
  /** The session has not yet said whether it uses the path that it was handed last. */
  #attaching = false;
  #backoff: PunchingBackoff;
  #confirmed: boolean;
  #rounds: TokenBucket;
  readonly #ended = new AbortController();

  constructor(options: PunchingOptions) {
    this.#options = options;
    this.#confirmed = options.confirmed;
    this.#backoff = new PunchingBackoff(options.role, options.clock, () => void this.#proposeNext());
    this.#rounds = new TokenBucket(ROUNDS.perSecond, ROUNDS.burst, options.clock.now());
  }

  get #stopped(): boolean {
    return this.#ended.signal.aborted;
  }

  get confirmed(): boolean {
    return this.#confirmed;
  }

  get allowed(): boolean {
    return this.#options.kinds.some((kind) => kind !== 'relay');
  }

  /** To a peer that has proven the session's keys. */
  get #mayPropose(): boolean {
    return !this.#stopped && this.allowed && this.#confirmed;
  }

  get #nextNumber(): number {
    return (this.#round?.number ?? -1) + 1;
  }

  get #roundTripMs(): number {
    return this.#round?.roundTripMs ?? UNKNOWN_MS;
  }

  get #isBusy(): boolean {
    return this.#isPreparing || this.#round?.isUnderWay === true;
  }

  /** What the peer says of its network; candidates are added to those known in this round. */
  learn(news: News): void {
    this.#theirKinds = news.kinds ?? this.#theirKinds;
    const profile = newerProfile(this.#circumstances.profiles.there, news.profile);
    this.#round?.handle({ type: 'remote', ...news, kinds: this.#theirKinds, profile });
    this.#consider('there', { ...news, profile });
  }

  /** Our own network was measured further, or changed. */
  refreshLocal(): void {
    const { network } = this.#options;
    const candidates = [...network.publicCandidates, ...network.hostCandidates];
    const samples = network.samples.map(({ candidate, at }) => ({ ...candidate, seenAt: at }));
    this.#round?.handle({ type: 'local', profile: network.profile, candidates, samples });
    this.#consider('here', { profile: network.profile, candidates });
    if (this.#mayPropose && this.#round?.isNeeded && this.#round.hasMoved(network.publicCandidates))
      this.#startOver();
  }

  /** The peer's probes go where we are no longer, and would for the rest of the round. */
  #startOver(): void {
    const text = 'this network has another public address; the round starts over';
    this.#options.onTrace({ stage: 'round', text });
    this.#backoff.retryIn(0);
  }

  /** What could not be before may be now, at whichever end something has changed. */
  #consider(end: 'here' | 'there', face: Face): void {
    const changed = this.#circumstances.learn(end, face);
    this.#followLifetimes();
    if (this.#isBusy) this.#tellCircumstances();
    if (!changed) return;
    this.#backoff.reset();
    if (!this.#attaching) this.wake();
  }

  #followLifetimes(): void {
    const { here, there } = this.#circumstances.profiles;
    const lifetimes = [here.udp.lifetimeSeconds, there.udp.lifetimeSeconds];
    const everyMs = keepaliveMs(...lifetimes);
    if (everyMs === this.#keepaliveMs) return;
    this.#keepaliveMs = everyMs;
    this.#options.onKeepalive(everyMs);
    const known = lifetimes.filter((seconds) => seconds !== undefined);
    const life = known.length > 0 ? `for ${Math.min(...known)} s` : 'for a time not known';
    const text = `a mapping lives ${life} here or there, so paths on standby are used every ${everyMs / 1_000} s`;
    this.#options.onTrace({ transport: 'udp', stage: 'keepalive', text });
  }

  #tellCircumstances(): void {
    const transports = (['udp', 'tcp'] as const).filter((kind) => this.#options.kinds.includes(kind));
    for (const line of this.#circumstances.lines(transports)) this.#options.onTrace(line);
  }

  /**
   * Starts a round that both ends know of, with what the peer says of its network now: an earlier round's mappings may
   * be gone, and their attestations have expired. False for an older or repeated number, and for a round too many,
   * which change nothing.
   */
  begin(number: number, start: RoundStart, news: News): boolean {
    if (this.#stopped || !this.allowed || number < this.#nextNumber) return false;
    if (!this.#rounds.take(this.#options.clock.now())) return false;
    this.#run(number, start, news);
    return true;
  }

  /**
   * Like `begin`, for a round in which both ends punch from UDP ports that nothing has used, so that the path that
   * comes of it has mappings of its own. The path that is there stays.
   */
  async beginFresh(number: number, start: RoundStart, news: News): Promise<void> {
    if (number === this.#joining) return; // it is told of by two ways
    this.#joining = number;
    const port = await this.#openFresh(number);
    this.#joining = undefined;
    if (!port) return;
    this.#options.tellFresh(port.candidate);
    this.#run(number, start, news, port);
  }

  /** Proposes a fresh round, to replace a path before it ends. */
  async rotate(): Promise<void> {
    const number = this.#nextNumber;
    const port = await this.#openFresh(number);
    if (!port) return;
    // The peer asks for its mapping first, after the proposal has come.
    const start = this.#startIn(2 * this.#roundTripMs + 20);
    this.#options.tellFresh(port.candidate, { number, start, fresh: true });
    this.#run(number, start, {}, port);
  }

  /** `undefined` where such a round can't be, or isn't wanted any more. */
  async #openFresh(number: number): Promise<FreshPort | undefined> {
    const { network, clock } = this.#options;
    const isWanted = () =>
      !this.#stopped && !this.#isBusy && this.#directPaths > 0 && number >= this.#nextNumber;
    if (!isWanted() || !this.#rounds.take(clock.now())) return undefined;
    const port = await openFreshPort(network.stun, clock);
    if (isWanted()) return port;
    void port?.udp.close();
    return undefined;
  }

  #run(number: number, start: RoundStart, news: News, fresh?: FreshPort): void {
    this.#backoff.cancel();
    this.#round?.stop();
    this.#isPreparing = this.#attaching = false;
    const { role, peer, keys, kinds, network, clock, toLocal, onTrace, tellFresh, tellSample } =
      this.#options;
    this.#round = new PunchingRound({
      role,
      peer,
      keys,
      kinds: fresh ? ['udp'] : kinds,
      network,
      freshUdp: fresh?.udp,
      clock,
      round: number,
      start,
      signal: this.#ended.signal,
      toLocal,
      tellPort: (candidate) => tellFresh(candidate),
      tellSample,
      onTrace,
      onPath: (path) => this.#onPath(path),
      onFailed: (obstacles) => this.#onFailed(obstacles),
    });
    this.refreshLocal();
    this.learn(news);
    this.#round.prime();
    if (this.#confirmed) this.#round.start();
  }

  /** Some time ahead, by the rendezvous's clock. */
  #startIn(ms: number): RoundStart {
    const at = this.#options.serverTime() + Math.min(MAX_START_LEAD_MS, ms);
    return { at, roundTripMs: this.#roundTripMs };
  }

  /** The peer has proven that it holds the session's keys. */
  confirm(): void {
    if (this.#confirmed) return;
    this.#confirmed = true;
    this.#round?.start();
  }

  /** A direct path went into use by the session. */
  pathUp(): void {
    this.#directPaths++;
    this.#attaching = false;
    this.#backoff.reset();
    this.#backoff.cancel();
  }

  /** A direct path was lost; with the last one, a new round starts at once. */
  pathDown(): void {
    this.#directPaths--;
    if (this.#directPaths > 0) return;
    this.#options.onTrace({ stage: 'round', text: 'the direct path is lost; another is looked for at once' });
    this.wake();
  }

  /** Something changed at this end or the session wants a better path: try again now. */
  wake(): void {
    this.#attaching = false;
    if (!this.#mayPropose || this.#directPaths > 0 || this.#isPreparing || this.#round?.isNeeded) return;
    this.#backoff.reset();
    this.#backoff.retrySoon();
  }

  stop(): void {
    this.#ended.abort();
    this.#backoff.cancel();
    this.#round?.stop();
  }

  /** Of this round, or one that was being secured when this began. */
  #onPath(path: DirectPath): void {
    this.#round?.found();
    this.#attaching = true;
    this.#options.onPath(path);
  }

  #onFailed(obstacles: readonly TransportObstacle[]): void {
    const { here, there } = this.#circumstances.profiles;
    this.#options.onFailed(verdictOf(obstacles, here, there));
    // What these NATs were taken for should have let it through.
    if (obstacles.some(({ code }) => code === 'NOT_THROUGH')) this.#options.network.suspect();
    const pauseMs = this.#backoff.failed();
    const text = `no direct path; another try in ${pauseMs / 1000} s, or as soon as either network changes`;
    this.#options.onTrace({ stage: 'round', text });
  }

  async #proposeNext(): Promise<void> {
    const number = this.#nextNumber;
    this.#isPreparing = true;
    await this.#options.network.refreshed(REFRESH_MS, true);
    if (this.#stopped || number < this.#nextNumber) return;
    this.#isPreparing = false;
    if (this.#directPaths > 0) return;
    if (!this.#rounds.take(this.#options.clock.now())) return this.#backoff.retryIn(1_000 / ROUNDS.perSecond);
    // The proposal travels by the relay: half a round trip, and some for the relay's queue.
    const start = this.#startIn(this.#roundTripMs + 20);
    if (!this.#options.propose({ number, start })) return this.#backoff.retryIn(UNTOLD_MS);
    this.#run(number, start, {});
  }
}
