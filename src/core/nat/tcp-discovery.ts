import { sameEndpoint, type Endpoint } from '../endpoint.ts';
import { earliest, type Instant, type Machine } from '../machine.ts';
import type { Candidate } from '../punch/candidate.ts';
import type { StunMessage } from '../stun/message.ts';
import { bindingRequest } from '../stun/request.ts';
import { judgeAllocation } from './allocation.ts';
import { UNMEASURED, type TransportProfile } from './behavior.ts';
import {
  DISCOVERY_CAP_MS,
  ProfileReporter,
  REFRESH_MS,
  type DiscoveryOptions,
  type ProfileReport,
} from './discovery.ts';
import { judgeMapping, type MappingObservation } from './mapping.ts';
import { SeenCandidates, type NewMapping } from './seen-candidates.ts';
import { StunConnection, type StunConnectionId } from './stun-connection.ts';

export type TcpDiscoveryInput =
  | { readonly type: 'start' }
  | { readonly type: 'refresh' }
  | { readonly type: 'connected'; readonly connection: StunConnectionId; readonly localPort: number }
  /** Ended, or never came to be; `code` is the system's, if it gave one. */
  | { readonly type: 'closed'; readonly connection: StunConnectionId; readonly code?: string | undefined }
  | { readonly type: 'data'; readonly connection: StunConnectionId; readonly bytes: Uint8Array };

export type TcpDiscoveryOutput =
  /** Dial from `localPort` (0: any), bound explicitly so that the port can be shared. */
  | {
      readonly type: 'connect';
      readonly connection: StunConnectionId;
      readonly to: Endpoint;
      readonly localPort: number;
    }
  | { readonly type: 'write'; readonly connection: StunConnectionId; readonly bytes: Uint8Array }
  /** Reset it: a closing handshake would keep the 4-tuple from being dialled again. */
  | { readonly type: 'reset'; readonly connection: StunConnectionId }
  | { readonly type: 'mapped'; readonly candidate: Candidate }
  | ProfileReport;

/**
 * Mapping behaviour over TCP (RFC 5780 §4.3 by analogy; RFC 5382 §4.1): one connection to ip1:p1 is kept and holds
 * the mapping of its local port, which simultaneous opens then use; from the same port the other endpoints are asked
 * for comparison. Filtering is left unknown: only the server could test it, by dialling back.
 */
export class TcpDiscovery implements Machine<TcpDiscoveryInput, TcpDiscoveryOutput> {
  readonly #options: DiscoveryOptions;
  readonly #outputs: TcpDiscoveryOutput[] = [];
  readonly #reporter = new ProfileReporter();
  readonly #candidates = new SeenCandidates('tcp');
  #held: StunConnection | undefined;
  /** To the servers that the held connection's mapping is compared with. */
  #others: StunConnection[] = [];
  #observed: MappingObservation[] = [];
  #heldPort = 0;
  #nextConnection = 0;
  /** Which server to hold on to: the next one when this one can't be reached. */
  #server = 0;
  #startedAt: Instant | undefined;
  #hasTimedOut = false;
  /** Dials that failed since the last one that did not. */
  #failures = 0;
  #refreshAt: Instant | undefined;
  #redialAt: Instant | undefined;

  constructor(options: DiscoveryOptions) {
    this.#options = options;
  }

  /** The local port that is held, 0 while none is. */
  get heldPort(): number {
    return this.#held?.isOpen ? this.#heldPort : 0;
  }

  get deadline(): Instant | undefined {
    const { redialAt, refreshAt } = { redialAt: this.#redialAt, refreshAt: this.#refreshAt };
    const cap = this.#startedAt === undefined || this.#hasTimedOut ? undefined : this.#capAt();
    return earliest(cap, redialAt, refreshAt, ...this.#all().map(({ deadline }) => deadline));
  }

  candidates(now: Instant, maxAgeMs: number): Candidate[] {
    return this.#candidates.list(now, maxAgeMs);
  }

  get newMapping(): NewMapping | undefined {
    return this.#candidates.newMapping;
  }

  handle(input: TcpDiscoveryInput, now: Instant): void {
    switch (input.type) {
      case 'start':
        this.#reporter.reset();
        this.#start(now);
        break;
      case 'refresh':
        this.#startRefresh(now);
        break;
      case 'connected':
        this.#connected(input.connection, input.localPort, now);
        break;
      case 'closed':
        this.#closed(input.connection, input.code, now);
        break;
      case 'data':
        this.#receive(input.connection, input.bytes, now);
        break;
    }
    this.#conclude();
  }

  handleTimeout(now: Instant): void {
    if (this.#startedAt !== undefined && now >= this.#capAt()) this.#hasTimedOut = true;
    for (const connection of this.#all()) {
      if (connection.deadline !== undefined && connection.deadline <= now) this.#abandon(connection, now);
    }
    if (this.#redialAt !== undefined && this.#redialAt <= now) this.#start(now);
    if (this.#refreshAt !== undefined && this.#refreshAt <= now) this.#startRefresh(now);
    this.#conclude();
  }

  poll(): TcpDiscoveryOutput | undefined {
    return this.#outputs.shift();
  }

  #start(now: Instant): void {
    for (const { id } of this.#all()) this.#outputs.push({ type: 'reset', connection: id });
    this.#others = [];
    this.#observed = [];
    this.#startedAt = now;
    this.#hasTimedOut = false;
    this.#redialAt = undefined;
    this.#refreshAt = undefined;
    const { servers } = this.#options;
    const server = servers[this.#server % servers.length];
    this.#held = server && this.#dial(server, now);
  }

  #dial(to: Endpoint, now: Instant): StunConnection {
    const connection = new StunConnection(this.#nextConnection++, to, now);
    const localPort = this.#heldPort;
    this.#outputs.push({ type: 'connect', connection: connection.id, to, localPort });
    return connection;
  }

  #startRefresh(now: Instant): void {
    this.#refreshAt = undefined;
    if (this.#held?.isOpen && !this.#held.isAsking) this.#ask(this.#held, now);
  }

  #connected(id: StunConnectionId, localPort: number, now: Instant): void {
    const connection = this.#find(id);
    if (!connection) return;
    connection.isOpen = true;
    this.#ask(connection, now);
    if (connection !== this.#held) return;
    this.#heldPort = localPort;
    this.#failures = 0;
    const others = this.#options.servers.filter((server) => !sameEndpoint(server, connection.to));
    this.#others = others.slice(0, 3).map((server) => this.#dial(server, now));
  }

  #ask(connection: StunConnection, now: Instant): void {
    const id = this.#options.random(12);
    connection.asked(id, now);
    const bytes = bindingRequest(id, this.#options.credentials);
    this.#outputs.push({ type: 'write', connection: connection.id, bytes });
  }

  #receive(id: StunConnectionId, bytes: Uint8Array, now: Instant): void {
    const connection = this.#find(id);
    if (!connection) return;
    try {
      for (const reply of connection.receive(bytes, this.#options.credentials)) {
        this.#answered(connection, reply, now);
      }
    } catch {
      this.#abandon(connection, now);
    }
  }

  #answered(connection: StunConnection, { mapped, attestation }: StunMessage, now: Instant): void {
    if (connection !== this.#held) {
      if (mapped) this.#observed.push({ server: connection.to, mapped });
      return this.#drop(connection);
    }
    if (!mapped) return;
    this.#refreshAt = now + REFRESH_MS;
    const before = this.#observed.find(({ server }) => server === connection.to);
    this.#candidates.add(connection.to, mapped, attestation, now);
    const candidate = this.#candidates.newest;
    if (candidate) this.#outputs.push({ type: 'mapped', candidate });
    if (!before) this.#observed.push({ server: connection.to, mapped });
    else if (!sameEndpoint(before.mapped, mapped)) this.#start(now);
  }

  /** Gives a connection up that did not connect, did not answer, or did not speak STUN. */
  #abandon(connection: StunConnection, now: Instant): void {
    this.#outputs.push({ type: 'reset', connection: connection.id });
    this.#closed(connection.id, undefined, now);
  }

  #drop(connection: StunConnection): void {
    this.#outputs.push({ type: 'reset', connection: connection.id });
    this.#others = this.#others.filter((other) => other !== connection);
  }

  #closed(id: StunConnectionId, code: string | undefined, now: Instant): void {
    this.#others = this.#others.filter((other) => other.id !== id);
    if (this.#held?.id !== id) return;
    this.#held = undefined;
    this.#refreshAt = undefined;
    if (code !== undefined && PORT_IS_TAKEN.has(code) && this.#heldPort !== 0) {
      this.#heldPort = 0;
      this.#redialAt = now;
      return;
    }
    this.#failures++;
    this.#server++;
    const delays = this.#failures < TRIES ? 0 : REDIAL_MS * 2 ** Math.min(5, this.#failures - TRIES);
    this.#redialAt = now + delays;
  }

  #conclude(): void {
    if (this.#startedAt === undefined) return;
    const isMeasured = this.#observed.length > 0 && this.#others.length === 0 && !this.#held?.isAsking;
    const hasFailed = this.#failures >= TRIES;
    if (!isMeasured && !hasFailed && !this.#hasTimedOut) return;
    const report = this.#reporter.report(this.#profile(hasFailed), true);
    if (report) this.#outputs.push(report);
  }

  #profile(hasFailed: boolean): TransportProfile {
    const order = (server: Endpoint) => this.#options.servers.indexOf(server);
    const observed = this.#observed.toSorted((a, b) => order(a.server) - order(b.server));
    if (observed.length === 0) return { ...UNMEASURED, reachable: hasFailed ? false : undefined };
    const local = { addresses: this.#options.localAddresses, port: this.#heldPort };
    const { mapping, provisional } = judgeMapping(observed, local);
    const ports = observed.map(({ mapped }) => mapped.port);
    const hasOtherAddress = observed.some(({ server }) => server.address !== observed[0]?.server.address);
    return {
      ...UNMEASURED,
      reachable: true,
      mapping,
      provisional: provisional || !hasOtherAddress,
      allocation: judgeAllocation(ports, this.#heldPort, mapping),
      publicAddresses: [...new Set(observed.map(({ mapped }) => mapped.address))],
    };
  }

  #capAt(): Instant {
    return this.#startedAt! + DISCOVERY_CAP_MS;
  }

  #all(): StunConnection[] {
    return this.#held ? [this.#held, ...this.#others] : this.#others;
  }

  #find(id: StunConnectionId): StunConnection | undefined {
    return this.#all().find((connection) => connection.id === id);
  }
}

/** The held port went to somebody else, or its last connection to this server lingers. */
const PORT_IS_TAKEN: ReadonlySet<string> = new Set(['EADDRINUSE', 'EADDRNOTAVAIL']);

/** Servers that are tried at once before TCP counts as unreachable. */
const TRIES = 2;

/** Then it is tried again after this long, doubling up to 32 times that. */
const REDIAL_MS = 1_000;
