import type { Endpoint } from '../endpoint.ts';
import { earliest, type Instant, type Machine } from '../machine.ts';
import type { Candidate } from '../punch/candidate.ts';
import { bindingRequest, readResponse, type StunCredentials } from '../stun/request.ts';
import { BindingTest, changeFor, type BindingTestPurpose, type DiscoverySocket } from './binding-test.ts';
import {
  DISCOVERY_CAP_MS,
  patienceFor,
  ProfileReporter,
  REFRESH_MS,
  type DiscoveryOptions,
  type ProfileReport,
} from './discovery.ts';
import { SeenCandidates, type NewMapping } from './seen-candidates.ts';
import { judgeUdp, leastRoundTrip } from './udp-evidence.ts';

export interface UdpDiscoveryOptions extends DiscoveryOptions {
  /** The measured socket's own port. */
  readonly localPort: number;
  /**
   * A server elsewhere that knows no registration, for servers of one address alone: its plain answer shows whether the
   * mapping depends on the address, and nothing else. Asked for at each beginning.
   */
  readonly witness?: (() => Endpoint | undefined) | undefined;
}

export type UdpDiscoveryInput =
  /** Measures from the beginning. */
  | { readonly type: 'start' }
  /** Asks for the mapping and a fresh attestation now. */
  | { readonly type: 'refresh' }
  /** No second socket can be had: filtering stays unknown. */
  | { readonly type: 'no-filtering-socket' }
  | {
      readonly type: 'datagram';
      readonly socket: DiscoverySocket;
      readonly bytes: Uint8Array;
      readonly from: Endpoint;
    };

export type UdpDiscoveryOutput =
  | {
      readonly type: 'send';
      readonly socket: DiscoverySocket;
      readonly to: Endpoint;
      readonly bytes: Uint8Array;
    }
  /** The filtering socket has done its work; the next one must be a fresh one. */
  | { readonly type: 'release' }
  /** The main socket's mapping, new or freshly attested. Connecting need not wait for the profile. */
  | { readonly type: 'mapped'; readonly candidate: Candidate }
  | ProfileReport;

/**
 * NAT behaviour discovery over UDP (RFC 5780 §4.3–4.4), for the socket that will be used: at most six transactions.
 *
 * ```
 *            main socket                       filtering socket, fresh
 *  at once   mapping from ip1:p1               ip1:p1, answer from ip2:p2 · ip1:p1, answer from ip1:p2
 *  answered  mapping from ip1:p2, ip2:p1 ip2:p2
 *            or, where there is no ip2, from a witness
 * ```
 * The other endpoints are contacted only after the first answer: even a filter kept for the whole host has let the
 * filtering replies in or not by then.
 */
export class UdpDiscovery implements Machine<UdpDiscoveryInput, UdpDiscoveryOutput> {
  readonly #options: UdpDiscoveryOptions;
  readonly #outputs: UdpDiscoveryOutput[] = [];
  readonly #reporter = new ProfileReporter();
  readonly #candidates = new SeenCandidates('udp');
  /** By transaction id. */
  readonly #tests = new Map<string, BindingTest>();
  #refresh: BindingTest | undefined;
  #startedAt: Instant | undefined;
  /** Whether the servers other than the first have been asked. */
  #hasWidened = false;
  #usesFilteringSocket = false;
  #isComplete = false;
  /** How often this diagnosis was begun anew because this process had been kept from running. */
  #restarts = 0;
  /** In this diagnosis, this process ran whenever it was to send or to listen. */
  #hasListened = true;
  #refreshAt: Instant | undefined;

  constructor(options: UdpDiscoveryOptions) {
    this.#options = options;
  }

  get deadline(): Instant | undefined {
    if (this.#startedAt === undefined) return undefined;
    return earliest(
      ...this.#all().map(({ transaction }) => transaction.nextTransmission),
      ...this.#all().map((test) => (test.isSettled ? undefined : this.#silentAt(test))),
      this.#isComplete ? undefined : this.#startedAt + DISCOVERY_CAP_MS,
      this.#hasWidened ? undefined : this.#startedAt + WIDEN_AFTER_MS,
      this.#refresh ? undefined : this.#refreshAt,
    );
  }

  /** Candidates of the main socket seen at most `maxAgeMs` ago, newest first. */
  candidates(now: Instant, maxAgeMs: number): Candidate[] {
    return this.#candidates.list(now, maxAgeMs);
  }

  /** True for what answers one of the tests; whether it is authentic shows later. Probes of punching come by here in thousands. */
  owns(bytes: Uint8Array): boolean {
    return this.#testFor(bytes) !== undefined;
  }

  get newMapping(): NewMapping | undefined {
    return this.#candidates.newMapping;
  }

  handle(input: UdpDiscoveryInput, now: Instant): void {
    if (input.type !== 'start' && this.#hasOverslept(now)) this.#beginAnew(now);
    switch (input.type) {
      case 'start':
        this.#reporter.reset();
        this.#start(now);
        break;
      case 'refresh':
        this.#startRefresh(now);
        break;
      case 'no-filtering-socket':
        for (const [id, { socket }] of this.#tests) if (socket === 'filtering') this.#tests.delete(id);
        break;
      case 'datagram':
        this.#receive(input, now);
        break;
    }
    this.#advance(now);
  }

  handleTimeout(now: Instant): void {
    if (this.#hasOverslept(now)) this.#beginAnew(now);
    if (!this.#refresh && isDue(this.#refreshAt, now)) this.#startRefresh(now);
    this.#advance(now);
  }

  poll(): UdpDiscoveryOutput | undefined {
    return this.#outputs.shift();
  }

  #start(now: Instant): void {
    this.#restarts = 0;
    this.#hasListened = true;
    this.#begin(now);
  }

  #begin(now: Instant): void {
    this.#tests.clear();
    this.#release();
    this.#refresh = undefined;
    this.#refreshAt = undefined;
    this.#startedAt = now;
    this.#hasWidened = false;
    this.#isComplete = false;
    const [primary, ...others] = this.#options.servers;
    if (!primary) return;
    this.#add('mapping', primary, now);
    if (this.#options.canChangeOrigin === false) return;
    if (others.some(({ address }) => address !== primary.address)) this.#add('other-address', primary, now);
    if (others.some(({ address }) => address === primary.address)) this.#add('other-port', primary, now);
  }

  /** While it is being measured: what was due then was not sent, and what has come since was not read. */
  #hasOverslept(now: Instant): boolean {
    const { deadline } = this;
    return !this.#isComplete && deadline !== undefined && now - deadline > OVERSLEPT_MS;
  }

  /** On a host that is short of processor time silence may be our own: it proves something only where this end has listened. */
  #beginAnew(now: Instant): void {
    if (this.#restarts++ < MOST_RESTARTS) this.#begin(now);
    else this.#hasListened = false;
  }

  /** Asks the server that has answered before; without one, everything is measured again. */
  #startRefresh(now: Instant): void {
    if (this.#refresh || !this.#isComplete) return;
    const known = this.#all().find(({ purpose, reply }) => purpose === 'mapping' && reply?.mapped);
    if (known) this.#refresh = this.#add('refresh', known.to, now);
    else this.#start(now);
  }

  #add(purpose: BindingTestPurpose, to: Endpoint, startedAt: Instant): BindingTest {
    const id = this.#options.random(12);
    const request = bindingRequest(id, this.#credentialsFor(purpose), { change: changeFor(purpose) });
    const test = new BindingTest({ purpose, to, request, startedAt });
    this.#tests.set(keyOf(id), test);
    return test;
  }

  #receive({ socket, bytes, from }: UdpDiscoveryInput & { type: 'datagram' }, now: Instant): void {
    const test = this.#testFor(bytes);
    // By another socket's mapping, where a NAT gave both the same port, an answer says nothing about the filter.
    if (!test || test.socket !== socket) return;
    const reply = readResponse(bytes, this.#credentialsFor(test.purpose));
    if (!reply || !test.accept(reply, from, now)) return;
    const isOurs = test.socket === 'main' && test.purpose !== 'witness';
    if (isOurs && test.replies === 1 && reply.mapped) this.#observe(test, reply.mapped, now);
  }

  #testFor(answer: Uint8Array): BindingTest | undefined {
    return this.#tests.get(keyOf(answer.subarray(8, 20)));
  }

  #credentialsFor(purpose: BindingTestPurpose): StunCredentials | undefined {
    return purpose === 'witness' ? undefined : this.#options.credentials;
  }

  #observe(test: BindingTest, mapped: Endpoint, now: Instant): void {
    const isNew = this.#candidates.add(test.to, mapped, test.reply?.attestation, now);
    this.#refreshAt = now + REFRESH_MS;
    const candidate = this.#candidates.newest;
    if (candidate && (isNew || test.purpose === 'refresh')) this.#outputs.push({ type: 'mapped', candidate });
    if (test === this.#refresh) this.#endRefresh(isNew, now);
  }

  /** Another mapping for the same server, or none: the NAT was restarted, or the network is another one. */
  #endRefresh(hasMoved: boolean, now: Instant): void {
    for (const [id, test] of this.#tests) if (test === this.#refresh) this.#tests.delete(id);
    this.#refresh = undefined;
    if (hasMoved) this.#start(now);
  }

  #advance(now: Instant): void {
    if (this.#startedAt === undefined) return;
    if (!this.#hasWidened && this.#mayWiden(now)) this.#widen(now);
    for (const test of this.#all()) {
      if (test.transaction.takeTransmission(now)) this.#transmit(test);
      test.isSilent ||= isDue(this.#silentAt(test), now);
    }
    if (this.#refresh?.isSilent) {
      this.#endRefresh(true, now);
      return this.#advance(now);
    }
    this.#conclude(now);
  }

  #mayWiden(now: Instant): boolean {
    const first = this.#all()[0];
    return first?.reply !== undefined || now >= this.#startedAt! + WIDEN_AFTER_MS;
  }

  #widen(now: Instant): void {
    this.#hasWidened = true;
    const { servers } = this.#options;
    for (const server of servers.slice(1, 4)) this.#add('mapping', server, now);
    if (servers.some(({ address }) => address !== servers[0]?.address)) return;
    const witness = this.#options.witness?.();
    if (witness) this.#add('witness', witness, now);
  }

  #transmit({ socket, to, request }: BindingTest): void {
    this.#usesFilteringSocket ||= socket === 'filtering';
    this.#outputs.push({ type: 'send', socket, to, bytes: request });
  }

  #silentAt({ transaction, purpose }: BindingTest): Instant | undefined {
    if (purpose === 'refresh') return transaction.silentAt(DISCOVERY_CAP_MS);
    const roundTripMs = leastRoundTrip(this.#all());
    return roundTripMs === undefined ? undefined : transaction.silentAt(patienceFor(roundTripMs));
  }

  #conclude(now: Instant): void {
    const tests = this.#all().filter(({ purpose }) => purpose !== 'refresh');
    const areSettled = (socket: DiscoverySocket) =>
      tests.every((test) => test.socket !== socket || test.isSettled);
    const isMappingKnown = this.#hasWidened && areSettled('main');
    const isTimeUp = now >= this.#startedAt! + DISCOVERY_CAP_MS;
    this.#isComplete ||= isTimeUp || (isMappingKnown && areSettled('filtering'));
    if (areSettled('filtering')) this.#release();
    if (!isMappingKnown && !this.#isComplete) return;
    const evidence = { ...this.#options, hasListened: this.#hasListened };
    const report = this.#reporter.report(judgeUdp(tests, evidence), this.#isComplete);
    if (report) this.#outputs.push(report);
    if (this.#isComplete) this.#refreshAt ??= now + REFRESH_MS;
  }

  #release(): void {
    if (this.#usesFilteringSocket) this.#outputs.push({ type: 'release' });
    this.#usesFilteringSocket = false;
  }

  #all(): BindingTest[] {
    return [...this.#tests.values()];
  }
}

function isDue(at: Instant | undefined, now: Instant): boolean {
  return at !== undefined && at <= now;
}

function keyOf(transactionId: Uint8Array): string {
  return String.fromCharCode(...transactionId);
}

/** Without an answer from the first server the others are asked all the same. */
const WIDEN_AFTER_MS = 300;

/** Later than timers are on a host that merely has much to do. */
const OVERSLEPT_MS = 200;
const MOST_RESTARTS = 3;
