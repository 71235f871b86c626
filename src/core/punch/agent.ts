import { randomBytes } from 'node:crypto';
import type { Family } from '../address.ts';
import { familyOf, sameEndpoint, type Endpoint } from '../endpoint.ts';
import { LIMITS } from '../limits.ts';
import { earliest, type Instant, type Machine } from '../machine.ts';
import type { SessionRole } from '../session/role.ts';
import { Agenda } from './agenda.ts';
import type { Candidate, Transport } from './candidate.ts';
import { ConnectivityChecks } from './checks.ts';
import type { PortSample, PunchInput, PunchOutput, RemoteCandidate } from './events.ts';
import { FloodBudget } from './flood-budget.ts';
import { NO_HAIRPIN } from './obstacle.ts';
import type { Plan } from './plan.ts';
import type { Stage, Technique } from './stage.ts';
import { addressee, ProbeCodec, type ProbeCredentials } from './probe.ts';
import type { PortProbes } from './port-probes.ts';
import { ProbeBudget } from './probe-budget.ts';
import { PortSearch } from './port-search.ts';
import type { StunService } from './sampler.ts';
import type { PathChoice } from './situation.ts';
import { refusalOf } from './target.ts';
import { TcpOpenings } from './tcp-openings.ts';

export interface PunchOptions {
  readonly role: SessionRole;
  readonly credentials: ProbeCredentials;
  /** The kinds of path that this end allows. */
  readonly kinds: readonly PathChoice[];
  /** Only where this end's own rendezvous connection runs over loopback. */
  readonly allowLoopback?: boolean | undefined;
  /** Hop limit of the early primer: past our own NATs, short of the peer's. 2 behind one NAT, 3 behind two. */
  readonly primerTtl?: number | undefined;
  /** Names the peer, for budgets that last longer than a session. */
  readonly peer?: string | undefined;
  /** Needed where this end's ports have to be predicted. */
  readonly stun?: StunService | undefined;
  /** Shared by all sessions of a process. */
  readonly floods?: FloodBudget | undefined;
  readonly probes?: ProbeBudget | undefined;
  readonly random?: ((count: number) => Uint8Array) | undefined;
}

const DEFAULT_PRIMER_TTL = 2;

/**
 * Opens direct paths for one session: plans from both ends' NATs, runs UDP checks and TCP opening side by side, and
 * says what it does and why. One round lasts at most 10 s, not counting what this end was kept from running; another round is another agent.
 *
 * ```
 *  local, remote ─▶ Agenda ─┬▶ ConnectivityChecks ─▶ send, path (udp)
 *                           │    ▲ PortSearch      ─▶ send, sample, tell-sample
 *                           └▶ TcpOpenings         ─▶ dial, listen-held, path (tcp)
 * ```
 */
export class PunchAgent implements Machine<PunchInput, PunchOutput> {
  #options: PunchOptions;
  #checks: ConnectivityChecks;
  #tcp: TcpOpenings;
  #outputs: PunchOutput[] = [];
  #agenda: Agenda;
  #own: readonly Candidate[] = [];
  /** In the order of arrival; those that the plan has no use for yet included. */
  #candidates: RemoteCandidate[] = [];
  #primed = false;
  #startAt: Instant | undefined;
  #roundTripMs = 0;
  #searches: Record<Transport, PortSearch>;
  /** Transports whose end has been reported. */
  #concluded = new Set<Transport>();
  #done = false;

  constructor(options: PunchOptions) {
    const random = options.random ?? ((count: number) => new Uint8Array(randomBytes(count)));
    const emit = (output: PunchOutput) => void this.#outputs.push(output);
    const budget = options.probes ?? new ProbeBudget();
    this.#options = options;
    this.#agenda = new Agenda(options.role, options.kinds);
    this.#checks = new ConnectivityChecks({
      role: options.role,
      codec: new ProbeCodec(options.credentials, random),
      emit,
      budget,
      fraction: () => random(1)[0]! / 255,
      technique: (family, flooded) =>
        flooded
          ? this.#searches.udp.technique
          : (this.#agenda.stageOf('udp', family)?.technique ?? unplanned(family)),
      roundMs: () => this.#agenda.roundMs('udp'),
    });
    this.#tcp = new TcpOpenings({
      role: options.role,
      emit,
      budget,
      roundMs: () => this.#agenda.roundMs('tcp'),
      searchTechnique: () => this.#searches.tcp.technique,
      firstSyn: () => this.#agenda.firstSyn,
      onRefused: (socket, to, now) => this.#searches.tcp.refused(socket, to, now),
    });
    const floods = options.floods ?? new FloodBudget();
    const search = (transport: Transport, probes: PortProbes) =>
      new PortSearch({
        role: options.role,
        peer: options.peer ?? options.credentials.username,
        transport,
        probes,
        floods,
        stun: options.stun,
        // One more than a primer: a second NAT that nobody knows of has to make mappings too.
        ttl: (options.primerTtl ?? DEFAULT_PRIMER_TTL) + 1,
        random,
        emit,
        trace: (stage, text, now) => this.#trace(transport, stage, text, now),
      });
    this.#searches = { udp: search('udp', this.#checks), tcp: search('tcp', this.#tcp) };
  }

  /** What both ends compute from the profiles and kinds known by now. */
  get plan(): Plan {
    return this.#agenda.plan;
  }

  get deadline(): Instant | undefined {
    if (this.#done) return undefined;
    return earliest(
      this.#checks.deadline,
      this.#tcp.deadline,
      this.#searches.udp.deadline,
      this.#searches.tcp.deadline,
    );
  }

  /** True when a datagram on the shared socket is for this session; whether it is authentic shows later. */
  owns(bytes: Uint8Array): boolean {
    const to = addressee(bytes);
    if (!to) return false;
    return 'username' in to
      ? to.username === this.#options.credentials.username
      : this.#checks.awaits(to.transaction);
  }

  poll(): PunchOutput | undefined {
    return this.#outputs.shift();
  }

  handle(input: PunchInput, now: Instant): void {
    this.#take(input, now);
    this.#conclude(now);
  }

  handleTimeout(now: Instant): void {
    if (this.#done) return;
    this.#checks.handleTimeout(now);
    this.#tcp.handleTimeout(now);
    for (const search of Object.values(this.#searches)) search.handleTimeout(now);
    this.#conclude(now);
  }

  #take(input: PunchInput, now: Instant): void {
    switch (input.type) {
      case 'local':
        this.#own = input.candidates ?? this.#own;
        this.#agenda.knowHere(input.profile);
        for (const { transport, seenAt } of input.samples ?? []) {
          this.#searches[transport].noteSample(seenAt, now);
        }
        return this.#followPlan(now);
      case 'remote':
        this.#addCandidates(input.candidates ?? []);
        this.#agenda.knowThere(input.profile, input.kinds);
        this.#followPlan(now);
        return this.#learnSamples(input.samples ?? [], now);
      case 'prime':
        this.#primed = true;
        this.#prepareSearches(now);
        return this.#checks.prime(this.#options.primerTtl ?? DEFAULT_PRIMER_TTL, now);
      case 'start':
        return this.#start(input, now);
      case 'datagram':
        if (this.#searches.udp.takeSample(input.socket, input.bytes, now)) return;
        return this.#checks.datagram(input.socket, input.bytes, input.from, now);
      case 'sampled':
        return void this.#searches.tcp.takeSample(input.socket, input.bytes, now);
      case 'dialed':
        return this.#tcp.connected(input.connection, input.local, input.remote, now);
      case 'dial-failed':
        return this.#tcp.failed(input.connection, input.code, now);
      case 'accepted':
        return this.#tcp.accepted(input.connection, input.local, input.remote, input.held, now);
      case 'secured':
        return this.#tcp.secure(input.connection);
      case 'broken':
        return this.#tcp.broken(input.connection, now);
      case 'stop':
        return this.#stop();
    }
  }

  /** Where the peer was seen counts apart: it may come last, behind the addresses of any number of interfaces that lead nowhere. */
  #addCandidates(candidates: readonly RemoteCandidate[]): void {
    for (const candidate of candidates) {
      const known = this.#candidates.findIndex((other) => sameCandidate(other, candidate));
      const alike = this.#candidates.filter(
        ({ attested }, index) => index !== known && attested === candidate.attested,
      );
      if (alike.length >= LIMITS.candidates) continue;
      if (known >= 0) this.#candidates[known] = candidate;
      else this.#candidates.push(candidate);
    }
  }

  #learnSamples(samples: readonly PortSample[], now: Instant): void {
    for (const sample of samples.toSorted((a, b) => a.seenAt - b.seenAt)) {
      this.#searches[sample.transport].learnSample(sample, now);
    }
  }

  #prepareSearches(now: Instant): void {
    if (!this.#primed) return;
    for (const transport of ['udp', 'tcp'] as const) {
      if (this.#agenda.tellsPorts(transport)) this.#searches[transport].prepare(now);
    }
  }

  /** Profiles and candidates come in pieces; each piece may give a transport something new to try. */
  #followPlan(now: Instant): void {
    for (const family of [4, 6] as const)
      this.#tcp.useHeldPort(family, this.#agenda.heldPortUse(family), now);
    for (const candidate of this.#candidates) this.#useCandidate(candidate, now);
    this.#prepareSearches(now);
    this.#followSearch(now);
  }

  #useCandidate(candidate: RemoteCandidate, now: Instant): void {
    const { transport, type, attested, endpoint } = candidate;
    if (
      !this.#agenda.allows(transport) ||
      (type !== 'host' && !this.#agenda.stageOf(transport, familyOf(endpoint)))
    )
      return;
    const rules = { allowLoopback: this.#options.allowLoopback ?? false, own: this.#own };
    if (refusalOf(candidate, attested, rules) !== undefined) return;
    if (transport === 'udp') this.#checks.add(candidate, now);
    else this.#tcp.add(candidate, now);
  }

  #start({ at, roundTripMs, confirmMs }: StartInput, now: Instant): void {
    this.#startAt = at;
    this.#roundTripMs = roundTripMs;
    for (const transport of ['udp', 'tcp'] as const) {
      this.#trace(transport, 'plan', this.#agenda.describe(transport), now);
    }
    this.#checks.start(at, now);
    this.#tcp.start(at, roundTripMs, now, confirmMs);
    this.#followSearch(now);
  }

  /** The plan may ask for ports to be searched before or after the start. */
  #followSearch(now: Instant): void {
    if (this.#startAt === undefined) return;
    for (const transport of ['udp', 'tcp'] as const) {
      const [first, ...others] = this.#attestedMappings(transport);
      if (!first) continue;
      // What an earlier network gave the peer is in no profile any more.
      const pool = others.filter(({ address }) => this.#agenda.poolThere(transport).includes(address));
      const from = Math.max(this.#startAt, now);
      this.#searches[transport].follow(this.#agenda.plan, [first, ...pool], from, this.#roundTripMs, now);
    }
  }

  /** Where the rendezvous saw the peer: the only places whose ports may be searched. */
  #attestedMappings(transport: Transport): Endpoint[] {
    const rules = { allowLoopback: this.#options.allowLoopback ?? false, own: this.#own };
    return this.#candidates
      .filter(
        (candidate) =>
          candidate.transport === transport &&
          isAttestedMapping(candidate) &&
          refusalOf(candidate, true, rules) === undefined,
      )
      .map(({ endpoint }) => endpoint);
  }

  #stop(): void {
    this.#checks.end();
    this.#tcp.end();
    for (const search of Object.values(this.#searches)) search.end();
    this.#done = true;
  }

  /** Reports each transport's end once, and the round's end after both. */
  #conclude(now: Instant): void {
    if (this.#done || this.#startAt === undefined) return;
    if (this.#checks.finished) this.#concludeTransport('udp', this.#checks.settled !== undefined, now);
    if (this.#tcp.finished) this.#concludeTransport('tcp', this.#tcp.secured, now);
    if (this.#concluded.size < 2) return;
    this.#done = true;
    this.#outputs.push({ type: 'done' });
  }

  #concludeTransport(transport: Transport, open: boolean, now: Instant): void {
    if (this.#concluded.has(transport)) return;
    this.#concluded.add(transport);
    this.#searches[transport].end();
    if (transport === 'udp' && this.#searches.udp.begun)
      this.#outputs.push({ type: 'close-sockets', except: this.#checks.settled?.socket });
    if (open) return;
    const { technique } = this.#agenda.stageOf(transport) ?? { technique: 'local addresses' as const };
    const seen = transport === 'udp' ? this.#checks.describe() : this.#tcp.describe();
    const isAllowed = this.#agenda.plan.unreachable[transport]?.code !== 'NOT_ALLOWED';
    if (isAllowed) this.#trace(transport, technique, `no direct path: ${seen}`, now);
    const obstacle = this.#agenda.plan.unreachable[transport] ?? {
      code: 'NOT_THROUGH' as const,
      reason: `${technique} did not get through: ${seen}`,
    };
    const shown =
      obstacle.code === 'NOT_THROUGH' && this.#agenda.lacksHairpin(transport) ? NO_HAIRPIN : obstacle;
    this.#outputs.push({ type: 'failed', transport, ...shown });
  }

  #trace(transport: Transport, stage: Stage['technique'] | 'plan', text: string, now: Instant): void {
    const packets = transport === 'udp' ? this.#checks.sent : this.#tcp.dialed;
    const elapsedMs = Math.max(0, now - this.#startAt!);
    this.#outputs.push({ type: 'trace', transport, stage, text, packets, elapsedMs });
  }
}

type StartInput = Extract<PunchInput, { type: 'start' }>;

function sameCandidate(a: Candidate, b: Candidate): boolean {
  return a.transport === b.transport && sameEndpoint(a.endpoint, b.endpoint);
}

/** Over IPv4, where a NAT may have put it: nothing is searched over IPv6. */
function isAttestedMapping({ type, attested, endpoint }: RemoteCandidate): boolean {
  return type === 'srflx' && attested && familyOf(endpoint) === 4;
}

/** How an address counts that isn't local, and that the plan knows nothing of. */
function unplanned(family: Family): Technique {
  return family === 6 ? 'simultaneous probes' : 'local addresses';
}
