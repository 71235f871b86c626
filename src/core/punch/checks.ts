import { scopeOf, type Family } from '../address.ts';
import { familyOf, formatEndpoint, sameEndpoint, type Endpoint } from '../endpoint.ts';
import { earliest, type Instant } from '../machine.ts';
import type { SessionRole } from '../session/role.ts';
import type { PunchOutput, RemoteCandidate } from './events.ts';
import { Nomination } from './nomination.ts';
import { NO_ADDRESS } from './obstacle.ts';
import { CandidatePair, pairKey } from './pair.ts';
import type { Technique } from './stage.ts';
import type { PortProbes } from './port-probes.ts';
import type { ProbeCodec } from './probe.ts';
import type { ProbeBudget } from './probe-budget.ts';
import type { PacingTerms } from './probe-pacing.ts';
import { heldUpMs } from './schedule.ts';
import { Spray } from './spray.ts';

/** Peer-reflexive addresses that are taken from one session; a replayed probe from more is dropped. */
const REFLEXIVE_PAIRS = 16;

/** Requests whose repetition we would notice; beyond that nothing more is answered. */
const REMEMBERED_REQUESTS = 8_192;

export interface ChecksOptions {
  readonly role: SessionRole;
  readonly codec: ProbeCodec;
  readonly emit: (output: PunchOutput) => void;
  readonly budget: ProbeBudget;
  /** A number from 0 to 1. */
  readonly fraction: () => number;
  /** Which technique a pair without a local address counts as, by the plan; `flooded`: it was found by `spray`. */
  readonly technique: (family: Family, flooded: boolean) => Technique;
  /** How long after T0 the search goes on. */
  readonly roundMs: () => number;
}

/**
 * Connectivity checks over UDP (RFC 8445 §7): who probes what when, and which pairs work. A *pair* is one of our
 * sockets and one address of the peer's; it is *valid* once a probe over it was answered. `Nomination` says which of
 * the valid ones is used; where it changes its mind, the path has `moved`.
 */
export class ConnectivityChecks implements PortProbes {
  #options: ChecksOptions;
  #pairs = new Map<string, CandidatePair>();
  /** Our requests without an answer yet: transaction → pair and instant of sending. */
  #pending = new Map<string, { pair: CandidatePair; at: Instant }>();
  #spray: Spray;
  /** The last authenticated packet over an address that leaves the site. */
  #contactAt: Instant | undefined;
  /** A transaction is honoured once per source. */
  #honoured = new Set<string>();
  #startAt: Instant | undefined;
  /** T0, or when this end came to know of it or could act upon it: the search has its time from then on. */
  #searchesFrom: Instant = 0;
  #nomination: Nomination;
  #ended = false;

  constructor(options: ChecksOptions) {
    this.#options = options;
    this.#nomination = new Nomination(options.role);
    this.#spray = new Spray(() => options.codec.request(false));
  }

  get settled(): CandidatePair | undefined {
    return this.#nomination.settled;
  }

  get isSettled(): boolean {
    return this.settled !== undefined;
  }

  get contactAt(): Instant | undefined {
    return this.#contactAt;
  }

  /** Settled here and there, or out of time: nothing more is sent but answers. */
  get finished(): boolean {
    return this.#ended || (this.isSettled && (this.#nomination.agreed || this.#nextProbe() === undefined));
  }

  get deadline(): Instant | undefined {
    if (this.#ended) return undefined;
    return earliest(this.#nomination.deadline, this.#nextProbe(), this.#endsAt);
  }

  /** When the search is given up. */
  get #endsAt(): Instant | undefined {
    if (this.#startAt === undefined || this.isSettled) return undefined;
    return this.#searchesFrom + this.#options.roundMs();
  }

  /** Requests sent, all pairs together. */
  get sent(): number {
    return [...this.#pairs.values()].reduce((sum, pair) => sum + pair.sent, this.#spray.sent);
  }

  /** What came back, for the trace. */
  describe(): string {
    const pairs = [...this.#pairs.values()];
    if (pairs.length === 0) return NO_ADDRESS;
    const heard = pairs.filter((pair) => pair.heard).length;
    const valid = pairs.filter((pair) => pair.valid).length;
    const ports = this.#spray.sent > 0 ? ` (${this.#spray.sent} of them spread)` : '';
    return `${this.sent} probes${ports} to ${pairs.length} addresses; ${heard} sent probes of their own, ${valid} answered`;
  }

  awaits(transaction: string): boolean {
    return this.#pending.has(transaction) || this.#spray.awaits(transaction);
  }

  /** Adds a candidate of the peer's; one that was met as a peer-reflexive address before keeps its state. */
  add(candidate: RemoteCandidate, now: Instant): void {
    const { endpoint, type, attested } = candidate;
    const known = this.#pairs.get(pairKey(0, endpoint));
    if (known) {
      if (known.type === 'prflx') known.type = type;
      known.attested ||= attested;
      return;
    }
    const pair = this.#create(0, endpoint, type, attested);
    if (this.#startAt !== undefined && !this.isSettled)
      pair.pacing.search(Math.max(this.#startAt, now), this.#termsOf(pair));
  }

  /** Sends one probe that dies soon after it has opened this end's filter, to every attested address. */
  prime(ttl: number, now: Instant): void {
    for (const pair of this.#pairs.values()) {
      if (pair.attested && !pair.local && pair.sent === 0) this.#probe(pair, now, ttl);
    }
  }

  spray(socket: number, to: Endpoint, now: Instant, ttl?: number): void {
    this.#options.emit({ type: 'send', socket, to, bytes: this.#spray.probe(socket, to, now), ttl });
  }

  start(at: Instant, now: Instant): void {
    this.#startAt = at;
    this.#searchesFrom = Math.max(at, now);
    this.#nomination.begin(at);
    if (this.isSettled) return;
    for (const pair of this.#pairs.values()) {
      pair.pacing.search(this.#searchesFrom, this.#termsOf(pair));
    }
  }

  datagram(socket: number, bytes: Uint8Array, from: Endpoint, now: Instant): void {
    const probe = this.#options.codec.read(bytes);
    if (!probe) return;
    if (probe.kind === 'answer') this.#answered(probe.transaction, probe.settled, socket, from, now);
    else this.#requested(probe.transaction, probe.settled, socket, from, now);
  }

  handleTimeout(now: Instant): void {
    if (this.#ended) return;
    this.#searchesFrom += heldUpMs(this.deadline, now);
    for (const pair of this.#pairs.values()) {
      if ((pair.pacing.nextAt ?? Infinity) <= now) this.#probeOnSchedule(pair, now);
    }
    if ((this.#nomination.deadline ?? Infinity) <= now) this.#settle(now);
    if ((this.#endsAt ?? Infinity) <= now) this.end();
  }

  /** Stops searching; probes are still answered. */
  end(): void {
    this.#ended = true;
    this.#nomination.end();
    for (const pair of this.#pairs.values()) pair.pacing.stop();
  }

  #requested(transaction: string, settled: boolean, socket: number, from: Endpoint, now: Instant): void {
    const key = pairKey(socket, from);
    if (!this.#honourOnce(`${transaction} ${key}`)) return;
    const pair = this.#pairs.get(key) ?? this.#learn(socket, from);
    if (!pair) return;
    const firstContact = !pair.heard;
    pair.heard = true;
    this.#noteContact(pair, now);
    if (settled) {
      // It has heard from us over this pair, and we hear it now. From an address that nobody vouched for it could be sent on to a third party.
      if (pair.attested && pair.type !== 'prflx') pair.valid = true;
      this.#peerSettledOn(pair, now);
    }
    if (this.#isFlooded(pair)) this.#nomination.nominateEarly(pair, now);
    const answer = this.#options.codec.answer(transaction, this.#nomination.isOurs(pair));
    this.#send(pair, answer);
    for (const detour of this.#detours(pair)) this.#send(detour, answer);
    // Our pair may be one that the peer can't have: with a dependent mapping each of its addresses has to be met.
    const wanted = settled || !this.#nomination.agreed;
    if (wanted && !pair.valid && pair.mayProbe && !this.#ended) this.#trigger(pair, firstContact, now);
  }

  #answered(transaction: string, settled: boolean, socket: number, from: Endpoint, now: Instant): void {
    const key = pairKey(socket, from);
    const request = this.#pending.get(transaction);
    const sprayed = this.#spray.awaits(transaction) && this.#spray.hasTried(socket, from);
    const pair = sprayed ? (this.#pairs.get(key) ?? this.#learn(socket, from)) : request?.pair;
    if (!pair || !isAnswerOver(pair, socket, from)) return;
    this.#pending.delete(transaction);
    if (request) pair.roundTripMs ??= now - request.at;
    pair.valid = true;
    this.#options.budget.forgive(pair.remote.address);
    this.#noteContact(pair, now);
    if (settled) this.#peerSettledOn(pair, now);
    this.#settle(now);
  }

  /**
   * Where else to answer a request that came from an address of some inner network: to the mappings at which we probe
   * the peer. Behind one NAT that hairpins without changing the source (RFC 4787 REQ-9 forbids it, some do), an answer
   * to the source may not get there, while the mapping does.
   */
  #detours(pair: CandidatePair): CandidatePair[] {
    if (pair.valid || scopeOf(pair.remote.address) === 'public') return [];
    const sameFamily = (other: CandidatePair) => familyOf(other.remote) === familyOf(pair.remote);
    return [...this.#pairs.values()].filter(
      (other) =>
        other !== pair &&
        other.attested &&
        other.type === 'srflx' &&
        other.socket === pair.socket &&
        sameFamily(other),
    );
  }

  #noteContact(pair: CandidatePair, now: Instant): void {
    this.#nomination.begin(now);
    if (!pair.local) this.#contactAt = now;
  }

  /** An address that isn't among the peer's candidates (RFC 8445 §7.3.1.3): a NAT mapped the peer anew for us. */
  #learn(socket: number, from: Endpoint): CandidatePair | undefined {
    const pairs = [...this.#pairs.values()];
    if (pairs.filter(({ type }) => type === 'prflx').length >= REFLEXIVE_PAIRS) return undefined;
    const attested = pairs.some((pair) => pair.attested && pair.remote.address === from.address);
    return this.#create(socket, from, 'prflx', attested);
  }

  #create(socket: number, remote: Endpoint, type: CandidatePair['type'], attested: boolean): CandidatePair {
    const pair = new CandidatePair(socket, remote, type, attested);
    this.#pairs.set(pairKey(socket, remote), pair);
    return pair;
  }

  /** First contact (RFC 8445 §7.3.1.4): the filter on the other side is open now, so the next probe gets through. */
  #trigger(pair: CandidatePair, firstContact: boolean, now: Instant): void {
    this.#probe(pair, now);
    const started = this.#startAt !== undefined && now >= this.#startAt;
    if (firstContact && pair.attested && started && !this.isSettled)
      pair.pacing.repeat(now, this.#termsOf(pair));
  }

  #peerSettledOn(pair: CandidatePair, now: Instant): void {
    this.#nomination.hear(pair);
    this.#settle(now);
    if (this.#nomination.agree(pair)) pair.pacing.stop();
  }

  #settle(now: Instant): void {
    if (this.#ended) return;
    const first = !this.isSettled;
    const best = this.#nomination.settle([...this.#pairs.values()], now);
    if (!best) return;
    for (const pair of this.#pairs.values()) pair.pacing.stop();
    // What travels on the path is close behind: by then the other end shall have settled, too.
    this.#probe(best, now);
    this.#announce(best, first, now);
    best.pacing.repeat(now, this.#termsOf(best));
  }

  #announce(pair: CandidatePair, first: boolean, now: Instant): void {
    const { socket, remote, local: lan, roundTripMs } = pair;
    const technique = lan
      ? 'local addresses'
      : this.#options.technique(familyOf(remote), this.#isFlooded(pair));
    if (!first) return this.#options.emit({ type: 'moved', socket, remote });
    const elapsedMs = Math.max(0, now - (this.#startAt ?? now));
    const text = `${formatEndpoint(remote)} answered; ${this.describe()}`;
    this.#options.emit({
      type: 'trace',
      transport: 'udp',
      stage: technique,
      text,
      packets: this.sent,
      elapsedMs,
    });
    this.#options.emit({
      type: 'path',
      transport: 'udp',
      socket,
      remote,
      technique,
      lan,
      roundTripMs,
      elapsedMs,
    });
  }

  #isFlooded({ socket, remote }: CandidatePair): boolean {
    return this.#spray.hasTried(socket, remote);
  }

  #probeOnSchedule(pair: CandidatePair, now: Instant): void {
    if (!pair.mayProbe) return pair.pacing.stop();
    this.#probe(pair, now);
    pair.pacing.next(this.#termsOf(pair), now);
  }

  #termsOf({ attested }: CandidatePair): PacingTerms {
    return { attested, searching: !this.isSettled, fraction: this.#options.fraction };
  }

  #probe(pair: CandidatePair, now: Instant, ttl?: number): void {
    const { attested, valid, remote } = pair;
    if (!attested && !valid && !this.#options.budget.take(remote.address, now)) return;
    const { transaction, bytes } = this.#options.codec.request(this.#nomination.isOurs(pair));
    this.#pending.set(transaction, { pair, at: now });
    pair.sent++;
    this.#send(pair, bytes, ttl);
  }

  #send({ socket, remote }: CandidatePair, bytes: Uint8Array, ttl?: number): void {
    this.#options.emit({ type: 'send', socket, to: remote, bytes, ttl });
  }

  #honourOnce(key: string): boolean {
    if (this.#honoured.has(key) || this.#honoured.size >= REMEMBERED_REQUESTS) return false;
    this.#honoured.add(key);
    return true;
  }

  #nextProbe(): Instant | undefined {
    return earliest(...[...this.#pairs.values()].map(({ pacing }) => pacing.nextAt));
  }
}

/**
 * A pair is known by the request, whatever address the answer comes from: it was probed, and the peer got it. Departure
 * from RFC 8445 §7.2.5.2.1, which fails such a check, for NATs that hairpin with the internal source and for hosts with
 * several addresses. Only an address that nobody named has to answer itself.
 */
function isAnswerOver({ socket, remote, type }: CandidatePair, arrivedOn: number, from: Endpoint): boolean {
  return socket === arrivedOn && (type !== 'prflx' || sameEndpoint(remote, from));
}
