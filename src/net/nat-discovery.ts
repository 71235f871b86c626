import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { scopeOf } from '../core/address.ts';
import { familyOf, type Endpoint } from '../core/endpoint.ts';
import { LIMITS } from '../core/limits.ts';
import type { Instant } from '../core/machine.ts';
import type { DiscoveryOptions } from '../core/nat/discovery.ts';
import { UNMEASURED, type NatProfile, type TransportProfile } from '../core/nat/behavior.ts';
import { addFinding, mergeSurvey } from '../core/nat/merge.ts';
import type { NewMapping } from '../core/nat/seen-candidates.ts';
import type { Candidate, Transport } from '../core/punch/candidate.ts';
import type { StunCredentials } from '../core/stun/request.ts';
import type { Clock } from './clock.ts';
import { TcpDiscoverer } from './discover-tcp.ts';
import { UdpDiscoverer, type DatagramPort, type OpenDatagramPort } from './discover-udp.ts';
import { NatSurvey } from './nat-survey.ts';

/** What a registration says of the deployment's STUN servers. */
export interface StunAccess extends StunCredentials {
  /** The primary address's two ports, then the second address's. */
  readonly udp: readonly Endpoint[];
  readonly tcp: readonly Endpoint[];
}

/** Servers of anybody's, asked without credentials. */
export interface PlainStunAccess {
  readonly udp: readonly Endpoint[];
  readonly tcp: readonly Endpoint[];
  /** They answer from elsewhere on request (RFC 5780). */
  readonly canChangeOrigin: boolean;
}

export interface NatDiscoveryOptions {
  /** The UDP socket that will be used. */
  readonly datagrams: DatagramPort;
  /** Opens another socket, for the tests that need one which has contacted nobody. */
  readonly freshDatagrams: OpenDatagramPort;
  readonly stun: StunAccess | PlainStunAccess;
  /** STUN servers over UDP at other hosts, preferred one first, that can say how our mapping looks from there. */
  readonly witnesses?: (() => readonly Endpoint[]) | undefined;
  /** Addresses of this host's interfaces. */
  readonly localAddresses: readonly string[];
  readonly clock: Clock;
  /** How long after the diagnosis the surveys begin, so that they leave a connection that is being made alone. */
  readonly surveyAfterMs?: number | undefined;
}

/** All that is known by now; candidates are server-reflexive and attested. */
export interface Discovery {
  readonly udp: { readonly profile: TransportProfile; readonly candidates: Candidate[] };
  readonly tcp: {
    readonly profile: TransportProfile;
    readonly candidates: Candidate[];
    /** The local port whose mapping is held; simultaneous opens dial from it. `undefined` while none is. */
    readonly heldPort: number | undefined;
  };
}

/** When a diagnosis began and when it was complete, by the clock given. */
export interface Diagnosis {
  readonly began: Instant;
  readonly ended: Instant;
}

interface NatDiscoveryEvents {
  /** A mapping, new or freshly attested. */
  mapped: [transport: Transport, candidate: Candidate];
  /** The profile says something new; `complete` once nothing more is awaited or 1.5 s have passed. */
  profile: [transport: Transport, profile: TransportProfile, complete: boolean];
  /** The surveys of this transport are through. */
  surveyed: [transport: Transport];
}

/**
 * Measures the NATs on the way out, on the very sockets that will be used, and keeps their mappings and attestations
 * fresh. Both transports are measured at once; neither waits for the other. What a plan can start without is surveyed
 * in the background afterwards; everything is measured again every ten minutes.
 */
export class NatDiscovery extends EventEmitter<NatDiscoveryEvents> {
  readonly #clock: Clock;
  readonly #udp: UdpDiscoverer;
  readonly #tcp: TcpDiscoverer;
  readonly #survey: NatSurvey;
  readonly #servers: Readonly<Record<Transport, readonly Endpoint[]>>;
  #surveyAfterMs: number;
  #profile: NatProfile = { version: 0, udp: UNMEASURED, tcp: UNMEASURED };
  /** The newest diagnosis by itself. */
  readonly #diagnosed: Record<Transport, TransportProfile> = { udp: UNMEASURED, tcp: UNMEASURED };
  /** What surveys have found since the network was last seen to be another one. */
  readonly #found: Record<Transport, Partial<TransportProfile>> = { udp: {}, tcp: {} };
  readonly #surveys: Record<Transport, Survey> = { udp: { isDue: true }, tcp: { isDue: true } };
  #isLifetimeMeasured = false;
  #startedAt: Instant = 0;
  /** When each transport's newest diagnosis began and ended. */
  readonly #diagnoses: Partial<Record<Transport, Diagnosis>> = {};
  #cancelRepeat: (() => void) | undefined;
  #reasking: Promise<void> | undefined;

  constructor(options: NatDiscoveryOptions) {
    super();
    const { datagrams, freshDatagrams, stun, localAddresses, clock } = options;
    this.#clock = clock;
    this.#surveyAfterMs = options.surveyAfterMs ?? SURVEY_AFTER_MS;
    const common = { ...requestsTo(stun), localAddresses, random };
    const family = familyOf(datagrams.address);
    const reachable = (servers: readonly Endpoint[]) =>
      servers.filter((server) => familyOf(server) === family);
    const machine = {
      udp: {
        ...common,
        servers: reachable(stun.udp),
        witness: () => witnessFor(reachable(stun.udp), options.witnesses?.() ?? []),
      },
      tcp: { ...common, servers: reachable(stun.tcp) },
    };
    this.#servers = { udp: machine.udp.servers, tcp: machine.tcp.servers };
    this.#udp = new UdpDiscoverer({
      main: datagrams,
      openFresh: freshDatagrams,
      machine: machine.udp,
      clock,
      onFinding: (finding) => this.#take('udp', finding),
    });
    this.#tcp = new TcpDiscoverer({
      machine: machine.tcp,
      clock,
      onFinding: (finding) => this.#take('tcp', finding),
    });
    this.#survey = new NatSurvey({
      machine,
      openFresh: freshDatagrams,
      clock,
      onFinding: (transport, found) => {
        this.#found[transport] = addFinding(this.#found[transport], found);
        this.#update(transport, true);
      },
    });
  }

  start(): void {
    this.#startedAt = this.#clock.now();
    this.#udp.start();
    this.#tcp.start();
    this.#cancelRepeat?.();
    this.#cancelRepeat = this.#clock.setTimer(() => this.#repeat(), REPEAT_MS);
  }

  /** Measures again from the beginning, as after a change of network. What was known stays until it is contradicted. */
  refresh(): void {
    this.start();
  }

  /**
   * What was measured promised a direct path, and none came: everything is measured again, surveys too. Once a minute
   * at most, however many peers fail.
   */
  suspect(): void {
    if (this.#clock.now() - this.#startedAt >= SUSPECT_AFTER_MS) this.#repeat();
  }

  /** Of the older one of both transports' diagnoses; `undefined` before both are complete. */
  get diagnosis(): Diagnosis | undefined {
    const { udp, tcp } = this.#diagnoses;
    if (!udp || !tcp) return undefined;
    return { began: Math.min(udp.began, tcp.began), ended: Math.max(udp.ended, tcp.ended) };
  }

  /** The version grows with everything new that is learnt. */
  get profile(): NatProfile {
    return this.#profile;
  }

  /** Candidates of both transports whose attestation is valid, the newest of each transport first. */
  get candidates(): Candidate[] {
    return this.#candidates(USABLE_MS);
  }

  /** Of each transport the mapping that was new last, if within `maxAgeMs`: where a NAT that counts its ports stood. */
  newMappings(maxAgeMs: number): NewMapping[] {
    const since = this.#clock.now() - maxAgeMs;
    return [this.#udp.newMapping, this.#tcp.newMapping].filter(
      (mapping) => mapping !== undefined && mapping.at >= since,
    ) as NewMapping[];
  }

  get heldPort(): number | undefined {
    return this.#tcp.heldPort;
  }

  get current(): Discovery {
    const { udp, tcp } = this.#profile;
    return {
      udp: { profile: udp, candidates: this.#udp.candidates(USABLE_MS) },
      tcp: { profile: tcp, candidates: this.#tcp.candidates(USABLE_MS), heldPort: this.heldPort },
    };
  }

  /** Candidates whose attestation has at least a third of its life left; asks for fresh ones first where needed. */
  async attested(): Promise<Candidate[]> {
    const isStale = (transport: Transport) =>
      this.#profile[transport].reachable === true &&
      !this.#candidates(FRESH_MS).some((candidate) => candidate.transport === transport);
    const stale = (['udp', 'tcp'] as const).filter(isStale);
    if (stale.includes('udp')) this.#udp.refresh();
    if (stale.includes('tcp')) this.#tcp.refresh();
    const giveUpAt = this.#clock.now() + ANSWER_MS;
    while (stale.some(isStale) && this.#clock.now() < giveUpAt) {
      await this.#eventOrAfter('mapped', giveUpAt - this.#clock.now());
    }
    return this.#candidates(FRESH_MS);
  }

  /** The servers that measure, in the order in which they are asked. */
  get servers(): Readonly<Record<Transport, readonly Endpoint[]>> {
    return this.#servers;
  }

  /** From now on surveys begin as soon as the diagnosis is complete: nobody is connecting. */
  hurry(): void {
    this.#surveyAfterMs = 0;
    for (const transport of ['udp', 'tcp'] as const) {
      if (this.#surveys[transport].cancel) this.#surveySoon(transport);
    }
  }

  /** Resolves when the surveys of both transports are through, where they are not already, or after `capMs`. */
  async surveyed(capMs: number, signal?: AbortSignal): Promise<void> {
    const giveUpAt = this.#clock.now() + capMs;
    const isUnderWay = () =>
      (['udp', 'tcp'] as const).some((transport) => {
        const { isDue, isRunning } = this.#surveys[transport];
        return isRunning || (isDue && this.#diagnosed[transport].reachable !== false);
      });
    const isStopped = () => signal?.aborted === true;
    while (isUnderWay() && this.#clock.now() < giveUpAt && !isStopped()) {
      await this.#eventOrAfter('surveyed', Math.min(giveUpAt - this.#clock.now(), LOOK_AGAIN_MS));
    }
  }

  /** Asks for both mappings anew, whatever is known; resolves when the UDP one has come, or TCP's where UDP is blocked. */
  async reasked(): Promise<void> {
    this.#reasking ??= this.#reask().finally(() => (this.#reasking = undefined));
    await this.#reasking;
  }

  async #reask(): Promise<void> {
    const awaited = this.#profile.udp.reachable === false ? 'tcp' : 'udp';
    const come = new Promise<void>((resolve) => {
      const cancel = this.#clock.setTimer(() => done(awaited), ANSWER_MS);
      const done = (transport: Transport): void => {
        if (transport !== awaited) return;
        cancel();
        this.off('mapped', done);
        resolve();
      };
      this.on('mapped', done);
    });
    this.#udp.refresh();
    this.#tcp.refresh();
    await come;
  }

  /** Resolves when the lifetime of idle UDP mappings is known, or can't be: at most two minutes after `surveyed`. */
  async lifetimeMeasured(signal?: AbortSignal): Promise<void> {
    const giveUpAt = this.#clock.now() + LIFETIME_MS;
    const isStopped = () => signal?.aborted === true;
    const isOver = () => this.#isLifetimeMeasured || this.#diagnosed.udp.reachable === false;
    while (!isOver() && this.#clock.now() < giveUpAt && !isStopped()) {
      await this.#eventOrAfter('surveyed', LOOK_AGAIN_MS);
    }
  }

  /** The sockets given stay open; the held port is let go. */
  close(): void {
    this.#cancelRepeat?.();
    for (const transport of ['udp', 'tcp'] as const) {
      this.#surveys[transport].cancel?.();
      this.#survey.stop(transport);
    }
    this.#udp.close();
    this.#tcp.close();
    this.removeAllListeners();
  }

  #candidates(maxAgeMs: number): Candidate[] {
    return [...this.#udp.candidates(maxAgeMs), ...this.#tcp.candidates(maxAgeMs)];
  }

  #take(transport: Transport, finding: Finding): void {
    if (finding.type === 'mapped') {
      this.emit('mapped', transport, finding.candidate);
      return;
    }
    if (isAnotherNetwork(this.#profile[transport], finding.profile)) {
      this.#found[transport] = {};
      this.#surveys[transport].isDue = true;
    }
    this.#diagnosed[transport] = finding.profile;
    const isNew = this.#diagnoses[transport]?.began !== this.#startedAt;
    if (finding.complete && isNew)
      this.#diagnoses[transport] = { began: this.#startedAt, ended: this.#clock.now() };
    this.#update(transport, finding.complete);
    if (finding.complete) this.#surveySoon(transport);
  }

  #update(transport: Transport, complete: boolean): void {
    const profile = mergeSurvey(this.#diagnosed[transport], this.#found[transport]);
    this.#profile = { ...this.#profile, version: this.#profile.version + 1, [transport]: profile };
    this.emit('profile', transport, profile, complete);
  }

  #surveySoon(transport: Transport): void {
    const survey = this.#surveys[transport];
    if (!survey.isDue) return;
    survey.cancel?.();
    survey.cancel = this.#clock.setTimer(() => void this.#runSurvey(transport), this.#surveyAfterMs);
  }

  async #runSurvey(transport: Transport): Promise<void> {
    const survey = this.#surveys[transport];
    const profile = this.#diagnosed[transport];
    if (profile.reachable !== true) return;
    survey.isDue = false;
    survey.isRunning = true;
    const isThrough = await this.#survey.run(transport, profile);
    if (!isThrough) return;
    survey.isRunning = false;
    this.emit('surveyed', transport);
    if (transport === 'udp') await this.#measureLifetime(profile);
  }

  async #measureLifetime(profile: TransportProfile): Promise<void> {
    const isNew = this.#found.udp.lifetimeSeconds === undefined;
    if (isNew) await this.#survey.lifetime(profile);
    this.#isLifetimeMeasured = true;
    this.emit('surveyed', 'udp');
  }

  #repeat(): void {
    for (const survey of Object.values(this.#surveys)) survey.isDue = true;
    this.start();
  }

  #eventOrAfter(event: 'mapped' | 'surveyed', ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.off(event, done);
        resolve();
      };
      const cancel = this.#clock.setTimer(done, ms);
      this.on(event, done);
    });
  }
}

function requestsTo(
  stun: StunAccess | PlainStunAccess,
): Pick<DiscoveryOptions, 'credentials' | 'canChangeOrigin'> {
  if (!('key' in stun)) return { credentials: undefined, canChangeOrigin: stun.canChangeOrigin };
  return { credentials: { username: stun.username, key: stun.key } };
}

/**
 * The first witness at another address that is of the same kind as the servers' own: between a private network and the
 * internet there is another NAT than within either, and nobody shall make us ask hosts of our own network.
 */
function witnessFor(servers: readonly Endpoint[], witnesses: readonly Endpoint[]): Endpoint | undefined {
  const [primary] = servers;
  if (!primary) return undefined;
  return witnesses.find(
    (witness) =>
      witness.address !== primary.address &&
      familyOf(witness) === familyOf(primary) &&
      scopeOf(witness.address) === scopeOf(primary.address),
  );
}

/** How far the surveys of one transport are. */
interface Survey {
  /** They begin with the next diagnosis that is complete. */
  isDue: boolean;
  isRunning?: boolean;
  /** Of the timer that begins them. */
  cancel?: () => void;
}

/** Nothing is left of what the NAT was; what surveys found goes with it. */
function isAnotherNetwork(before: TransportProfile, after: TransportProfile): boolean {
  if (before.reachable !== true || after.reachable !== true) return false;
  const isKnown = after.publicAddresses.some((address) => before.publicAddresses.includes(address));
  const mappings = [before.mapping, after.mapping];
  return !isKnown || (before.mapping !== after.mapping && !mappings.includes('unknown'));
}

type Finding =
  | { readonly type: 'mapped'; readonly candidate: Candidate }
  | { readonly type: 'profile'; readonly profile: TransportProfile; readonly complete: boolean };

function random(length: number): Uint8Array {
  return new Uint8Array(randomBytes(length));
}

/** An attestation travels a little before it is judged, by a clock that is not ours. */
const USABLE_MS = LIMITS.attestationLifetimeMs - 10_000;
const FRESH_MS = 40_000;
const SURVEY_AFTER_MS = 1_000;
/** The longest cliff, what comes before and after it, and some patience. */
const LIFETIME_MS = 140_000;
/** A diagnosis younger than this is not doubted. */
const SUSPECT_AFTER_MS = 60_000;
/** A profile is measured anew when it is this old. */
const REPEAT_MS = 600_000;
/** The survey of a transport whose diagnosis never ends is not waited for by an event. */
const LOOK_AGAIN_MS = 250;
/** How long `attested` waits for a server's answer. */
const ANSWER_MS = 1_000;
