import { scopeOf, type Family } from '../address.ts';
import { familyOf, formatEndpoint, sameEndpoint, type Endpoint } from '../endpoint.ts';
import { earliest, type Instant } from '../machine.ts';
import type { SessionRole } from '../session/keys.ts';
import type { PunchOutput, RemoteCandidate } from './events.ts';
import { CandidatePair, comparePairs, pairKey } from './pair.ts';
import type { Technique } from './plan.ts';
import type { PortProbes } from './port-probes.ts';
import type { ProbeCodec } from './probe.ts';
import type { ProbeBudget } from './probe-budget.ts';
import { jittered, probeOffset, repeatOffset } from './schedule.ts';

/** A better pair than the first valid one may still answer for this long after T0. */
const BETTER_PAIR_MS = 30;

/** Peer-reflexive addresses that are taken from one session; a replayed probe from more is dropped. */
const REFLEXIVE_PAIRS = 16;

/** How long a found port that was nominated early may take to answer, before another that has answered will do. */
const EARLY_NOMINATION_MS = 1_000;

/** How long one request is used for `spray`. */
const WIDE_REQUEST_MS = 500;

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
 * Connectivity checks over UDP (RFC 8445 §7): who probes what when, which pairs work, and which one is used.
 *
 * Both ends settle on their best valid pair; the initiator's choice is the nomination. Departure from RFC 8445 §8:
 * the responder doesn't wait half a round trip for the nomination where every pair uses the one shared socket. Two
 * different valid pairs carry traffic both ways all the same, and the nomination corrects the responder (`moved`).
 */
export class ConnectivityChecks implements PortProbes {
  #options: ChecksOptions;
  #pairs = new Map<string, CandidatePair>();
  /** Our requests without an answer yet: transaction → pair and instant of sending. */
  #pending = new Map<string, { pair: CandidatePair; at: Instant }>();
  /** The request that `spray` sends, to many addresses; renewed from time to time. */
  #wide: { transaction: string; bytes: Uint8Array; at: Instant } | undefined;
  /** Transactions of such requests: whoever answers one of them is the peer. */
  #wideTransactions = new Set<string>();
  #sprayedPorts = new Set<string>();
  #sprayed = 0;
  /** The last authenticated packet over an address that leaves the site. */
  #contactAt: Instant | undefined;
  /** A transaction is honoured once per source. */
  #honoured = new Set<string>();
  #startAt: Instant | undefined;
  /** Before this instant a pair is settled on only if none better can come. */
  #settleFrom: Instant | undefined;
  #settleAt: Instant | undefined;
  #settled: CandidatePair | undefined;
  /** The pair that the initiator nominated, at the responder. */
  #nominated: CandidatePair | undefined;
  /** The pair that we nominate, as the initiator, before it has answered. */
  #early: { readonly pair: CandidatePair; readonly until: Instant } | undefined;
  /** The other end has settled on our settled pair as well. */
  #agreed = false;
  #ended = false;

  constructor(options: ChecksOptions) {
    this.#options = options;
  }

  get settled(): CandidatePair | undefined {
    return this.#settled;
  }

  get isSettled(): boolean {
    return this.#settled !== undefined;
  }

  get contactAt(): Instant | undefined {
    return this.#contactAt;
  }

  /** Settled here and there, or out of time: nothing more is sent but answers. */
  get finished(): boolean {
    return this.#ended || (this.#settled !== undefined && (this.#agreed || this.#nextProbe() === undefined));
  }

  get deadline(): Instant | undefined {
    if (this.#ended) return undefined;
    const end =
      this.#startAt !== undefined && !this.#settled ? this.#startAt + this.#options.roundMs() : undefined;
    return earliest(this.#settleAt, this.#nextProbe(), end);
  }

  /** Requests sent, all pairs together. */
  get sent(): number {
    return [...this.#pairs.values()].reduce((sum, pair) => sum + pair.sent, this.#sprayed);
  }

  /** What came back, for the trace. */
  describe(): string {
    const pairs = [...this.#pairs.values()];
    const heard = pairs.filter((pair) => pair.heard).length;
    const valid = pairs.filter((pair) => pair.valid).length;
    const ports = this.#sprayed > 0 ? ` (${this.#sprayed} of them spread)` : '';
    return `${this.sent} probes${ports} to ${pairs.length} addresses; ${heard} sent probes of their own, ${valid} answered`;
  }

  awaits(transaction: string): boolean {
    return this.#pending.has(transaction) || this.#wideTransactions.has(transaction);
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
    if (this.#startAt !== undefined && !this.#settled) this.#schedule(pair, now);
  }

  /** Sends one probe that dies soon after it has opened this end's filter, to every attested address. */
  prime(ttl: number, now: Instant): void {
    for (const pair of this.#pairs.values()) {
      if (pair.attested && !pair.local && pair.sent === 0) this.#probe(pair, now, ttl);
    }
  }

  /**
   * Sends a probe to an address that may or may not be the peer's: only one that answers becomes a pair. All these
   * probes are one request, since thousands are sent; a receiver honours it once per source, so it is renewed before
   * the same address is tried again.
   */
  spray(socket: number, to: Endpoint, now: Instant, ttl?: number): void {
    if (!this.#wide || now - this.#wide.at >= WIDE_REQUEST_MS) {
      this.#wide = { ...this.#options.codec.request(false), at: now };
      this.#wideTransactions.add(this.#wide.transaction);
    }
    this.#sprayed++;
    this.#sprayedPorts.add(pairKey(socket, to));
    this.#options.emit({ type: 'send', socket, to, bytes: this.#wide.bytes, ttl });
  }

  start(at: Instant, now: Instant): void {
    this.#startAt = at;
    this.#settleFrom ??= at + BETTER_PAIR_MS;
    if (this.#settled) return;
    for (const pair of this.#pairs.values()) this.#schedule(pair, Math.max(at, now));
  }

  datagram(socket: number, bytes: Uint8Array, from: Endpoint, now: Instant): void {
    const probe = this.#options.codec.read(bytes);
    if (!probe) return;
    if (probe.kind === 'answer') this.#answered(probe.transaction, probe.settled, socket, from, now);
    else this.#requested(probe.transaction, probe.settled, socket, from, now);
  }

  handleTimeout(now: Instant): void {
    if (this.#ended) return;
    for (const pair of this.#pairs.values()) {
      if (pair.nextAt !== undefined && pair.nextAt <= now) this.#probeOnSchedule(pair, now);
    }
    if (this.#settleAt !== undefined && this.#settleAt <= now) this.#settle(now);
    if (this.#startAt !== undefined && !this.#settled && now >= this.#startAt + this.#options.roundMs())
      this.end();
  }

  /** Stops searching; probes are still answered. */
  end(): void {
    this.#ended = true;
    this.#settleAt = undefined;
    for (const pair of this.#pairs.values()) pair.nextAt = undefined;
  }

  #requested(transaction: string, settled: boolean, socket: number, from: Endpoint, now: Instant): void {
    const key = pairKey(socket, from);
    if (!this.#honourOnce(`${transaction} ${key}`)) return;
    const pair = this.#pairs.get(key) ?? this.#learn(socket, from);
    if (!pair) return;
    const firstContact = !pair.heard;
    pair.heard = true;
    this.#noteContact(pair, now);
    if (settled) this.#peerSettledOn(pair, now);
    this.#nominateEarly(pair, now);
    const answer = this.#options.codec.answer(transaction, this.#isNominated(pair));
    this.#send(pair, answer);
    for (const detour of this.#detours(pair)) this.#send(detour, answer);
    if (!pair.valid && pair.mayProbe && !this.#ended) this.#trigger(pair, firstContact, now);
  }

  #answered(transaction: string, settled: boolean, socket: number, from: Endpoint, now: Instant): void {
    const key = pairKey(socket, from);
    const request = this.#pending.get(transaction);
    const wide = this.#wideTransactions.has(transaction) && this.#sprayedPorts.has(key);
    const pair = wide ? (this.#pairs.get(key) ?? this.#learn(socket, from)) : request?.pair;
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
        other.attested && other.type === 'srflx' && other.socket === pair.socket && sameFamily(other),
    );
  }

  #noteContact(pair: CandidatePair, now: Instant): void {
    this.#settleFrom ??= now + BETTER_PAIR_MS;
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
    if (firstContact && pair.attested && started && !this.#settled) this.#repeatFrom(pair, now);
  }

  /**
   * The peer's probe came from a port that was searched for: so its NAT lets our answer in, and the search is over. As
   * in aggressive nomination (RFC 5245 §8.1.1.2) we say so with that answer, and the responder, who waits to be told
   * which of its sockets is meant, needn't wait for another round trip.
   */
  #nominateEarly(pair: CandidatePair, now: Instant): void {
    if (this.#options.role !== 'initiator' || this.#settled || this.#early || !this.#isFlooded(pair)) return;
    this.#early = { pair, until: now + EARLY_NOMINATION_MS };
  }

  #isNominated(pair: CandidatePair): boolean {
    return this.#settled ? pair === this.#settled : pair === this.#early?.pair;
  }

  #peerSettledOn(pair: CandidatePair, now: Instant): void {
    if (this.#options.role === 'responder') this.#nominated = pair;
    this.#settle(now);
    if (pair === this.#settled) {
      this.#agreed = true;
      pair.nextAt = undefined;
    }
  }

  #settle(now: Instant): void {
    if (this.#ended) return;
    const best = this.#best(now);
    if (!best || best === this.#settled) return;
    const first = this.#settled === undefined;
    this.#settled = best;
    this.#settleAt = undefined;
    this.#agreed = false;
    for (const pair of this.#pairs.values()) pair.nextAt = undefined;
    this.#announce(best, first, now);
    this.#probe(best, now);
    this.#repeatFrom(best, now);
  }

  /** The pair to settle on now, if there is one; sets `#settleAt` where it pays to wait. */
  #best(now: Instant): CandidatePair | undefined {
    if (this.#nominated?.valid) return this.#nominated;
    if (this.#settled) return this.#settled;
    const valid = [...this.#pairs.values()].filter((pair) => pair.valid).sort(comparePairs);
    const early = this.#early && now < this.#early.until ? this.#early : undefined;
    if (early && valid.length > 0 && !early.pair.valid) {
      this.#settleAt = early.until;
      return undefined;
    }
    const best = early?.pair ?? valid[0];
    if (!best?.valid || (this.#options.role === 'responder' && this.#hasOwnSockets())) return undefined;
    if (best.type === 'host' || best.isNearest || now >= this.#settleFrom!) return best;
    this.#settleAt = this.#settleFrom;
    return undefined;
  }

  /** With several local sockets the two ends have to mean the same one, so the responder waits to be told. */
  #hasOwnSockets(): boolean {
    return [...this.#pairs.values()].some(({ socket }) => socket !== 0);
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
    return this.#sprayedPorts.has(pairKey(socket, remote));
  }

  /** Searches along the pair's schedule, which counts from T0. */
  #schedule(pair: CandidatePair, now: Instant): void {
    pair.step = 0;
    pair.repeatFrom = undefined;
    this.#planNext(pair, now);
  }

  /** Follows the repeat schedule, which counts from now. */
  #repeatFrom(pair: CandidatePair, now: Instant): void {
    pair.step = 1;
    pair.repeatFrom = now;
    this.#planNext(pair, now);
  }

  #planNext(pair: CandidatePair, now: Instant): void {
    const { step, attested, repeatFrom } = pair;
    const searching = !this.#settled;
    const offset =
      repeatFrom === undefined ? probeOffset(step, attested) : repeatOffset(step, searching && attested);
    if (offset === undefined) pair.nextAt = undefined;
    else {
      const from = repeatFrom ?? this.#startAt!;
      const fraction = attested ? this.#options.fraction() : 0;
      pair.nextAt = Math.max(now, from + jittered(offset, fraction));
    }
  }

  #probeOnSchedule(pair: CandidatePair, now: Instant): void {
    pair.nextAt = undefined;
    if (!pair.mayProbe) return;
    this.#probe(pair, now);
    pair.step++;
    this.#planNext(pair, now);
  }

  #probe(pair: CandidatePair, now: Instant, ttl?: number): void {
    const { attested, valid, remote } = pair;
    if (!attested && !valid && !this.#options.budget.take(remote.address, now)) return;
    const { transaction, bytes } = this.#options.codec.request(this.#isNominated(pair));
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
    return earliest(...[...this.#pairs.values()].map(({ nextAt }) => nextAt));
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
