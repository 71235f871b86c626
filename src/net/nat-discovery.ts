import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { familyOf, type Endpoint } from '../core/endpoint.ts';
import { LIMITS } from '../core/limits.ts';
import type { Instant } from '../core/machine.ts';
import { UNMEASURED, type NatProfile, type TransportProfile } from '../core/nat/behavior.ts';
import { MeasuredNat } from '../core/nat/measured-nat.ts';
import type { NewMapping } from '../core/nat/seen-candidates.ts';
import type { Candidate, Transport } from '../core/punch/candidate.ts';
import type { Clock } from './clock.ts';
import { TcpDiscoverer } from './discover-tcp.ts';
import { UdpDiscoverer, type DatagramPort, type OpenDatagramPort } from './discover-udp.ts';
import { NatSurvey } from './nat-survey.ts';
import { ofFamily, requestsTo, witnessFor, type PlainStunAccess, type StunAccess } from './stun-access.ts';
import { SurveySchedule } from './survey-schedule.ts';

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
  readonly #schedule: SurveySchedule;
  readonly #servers: Readonly<Record<Transport, readonly Endpoint[]>>;
  #profile: NatProfile = { version: 0, udp: UNMEASURED, tcp: UNMEASURED };
  readonly #measured = { udp: new MeasuredNat(), tcp: new MeasuredNat() };
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
    const common = { ...requestsTo(stun), localAddresses, random };
    const family = familyOf(datagrams.address);
    const servers = { udp: ofFamily(family, stun.udp), tcp: ofFamily(family, stun.tcp) };
    const witness = () => witnessFor(servers.udp, options.witnesses?.() ?? []);
    const machine = {
      udp: { ...common, servers: servers.udp, witness },
      tcp: { ...common, servers: servers.tcp },
    };
    this.#servers = servers;
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
        this.#measured[transport].add(found);
        this.#update(transport, true);
      },
    });
    this.#schedule = new SurveySchedule({
      clock,
      afterMs: options.surveyAfterMs ?? SURVEY_AFTER_MS,
      isPossible: (transport) => this.#measured[transport].diagnosed.reachable === true,
      survey: (transport) => this.#survey.run(transport, this.#measured[transport].diagnosed),
      onThrough: (transport) => {
        this.emit('surveyed', transport);
        if (transport === 'udp') void this.#measureLifetime();
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
    this.#schedule.hurry();
  }

  /** Resolves when the surveys of both transports are through, where they are not already, or after `capMs`. */
  async surveyed(capMs: number, signal?: AbortSignal): Promise<void> {
    const giveUpAt = this.#clock.now() + capMs;
    const isUnderWay = () =>
      (['udp', 'tcp'] as const).some(
        (transport) =>
          this.#schedule.isRunning(transport) ||
          (this.#schedule.isDue(transport) && !this.#hasNothingToSurvey(transport)),
      );
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
    const isOver = () => this.#isLifetimeMeasured || this.#hasNothingToSurvey('udp');
    while (!isOver() && this.#clock.now() < giveUpAt && !isStopped()) {
      await this.#eventOrAfter('surveyed', LOOK_AGAIN_MS);
    }
  }

  /** The sockets given stay open; the held port is let go. */
  close(): void {
    this.#cancelRepeat?.();
    this.#schedule.stop();
    for (const transport of ['udp', 'tcp'] as const) this.#survey.stop(transport);
    this.#udp.close();
    this.#tcp.close();
    this.removeAllListeners();
  }

  /**
   * No server is reached, or there is none of this family. UDP's diagnosis ends without a verdict where this process was kept from
   * listening; TCP's while a dial is under way, which is still waited for.
   */
  #hasNothingToSurvey(transport: Transport): boolean {
    const { reachable } = this.#measured[transport].diagnosed;
    if (reachable === false || this.#servers[transport].length === 0) return true;
    const isDiagnosed = this.#diagnoses[transport]?.began === this.#startedAt;
    return transport === 'udp' && isDiagnosed && reachable === undefined;
  }

  #candidates(maxAgeMs: number): Candidate[] {
    return [...this.#udp.candidates(maxAgeMs), ...this.#tcp.candidates(maxAgeMs)];
  }

  #take(transport: Transport, finding: Finding): void {
    if (finding.type === 'mapped') {
      this.emit('mapped', transport, finding.candidate);
      return;
    }
    if (this.#measured[transport].diagnose(finding.profile)) this.#schedule.setDue(transport);
    const isNew = this.#diagnoses[transport]?.began !== this.#startedAt;
    if (finding.complete && isNew)
      this.#diagnoses[transport] = { began: this.#startedAt, ended: this.#clock.now() };
    this.#update(transport, finding.complete);
    if (finding.complete) this.#schedule.diagnosed(transport);
  }

  #update(transport: Transport, complete: boolean): void {
    const { profile } = this.#measured[transport];
    this.#profile = { ...this.#profile, version: this.#profile.version + 1, [transport]: profile };
    this.emit('profile', transport, profile, complete);
  }

  async #measureLifetime(): Promise<void> {
    const { diagnosed, lifetimeSeconds } = this.#measured.udp;
    if (lifetimeSeconds === undefined) await this.#survey.lifetime(diagnosed);
    this.#isLifetimeMeasured = true;
    this.emit('surveyed', 'udp');
  }

  #repeat(): void {
    for (const transport of ['udp', 'tcp'] as const) this.#schedule.setDue(transport);
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
