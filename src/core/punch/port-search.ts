import { formatEndpoint, type Endpoint } from '../endpoint.ts';
import { earliest, type Instant } from '../machine.ts';
import { otherRole, type SessionRole } from '../session/role.ts';
import { Birthday } from './birthday.ts';
import type { Transport } from './candidate.ts';
import type { PortSample, PunchOutput } from './events.ts';
import type { Flood, FloodBudget } from './flood-budget.ts';
import type { Plan } from './plan.ts';
import type { Stage } from './stage.ts';
import type { PortProbes } from './port-probes.ts';
import { PortPrediction, SAMPLE_MS } from './prediction.ts';
import { PortSampler, type StunService } from './sampler.ts';
import {
  BIRTHDAY_ADDRESSES,
  BIRTHDAY_PROBES_OF_USE,
  BIRTHDAY_ROWS,
  PREDICTION_TRIES,
  predictedPorts,
  predictionTryMs,
  type BirthdaySize,
} from './schedule.ts';

export interface PortSearchOptions {
  readonly role: SessionRole;
  /** For the budget: which peer this is for. */
  readonly peer: string;
  readonly transport: Transport;
  readonly probes: PortProbes;
  readonly floods: FloodBudget;
  readonly stun: StunService | undefined;
  /** Hop limit of probes that only have to make mappings in this end's own NATs. */
  readonly ttl: number;
  readonly random: (count: number) => Uint8Array;
  readonly emit: (output: PunchOutput) => void;
  readonly trace: (stage: Stage['technique'], text: string, now: Instant) => void;
}

type StageOf<Name extends Stage['technique']> = Extract<Stage, { technique: Name }>;

/** A peer whose profile changes more often than honest measuring explains gets no more. */
const MAX_PREDICTIONS = 3;

/** Between requests for leave to flood. */
const FLOOD_RETRY_MS = 500;

/** Finds ports that no candidate names: prediction first, where the plan has it, and a birthday if that found nothing. */
export class PortSearch {
  #options: PortSearchOptions;
  /** The mapping at which the rendezvous saw the peer. */
  #target: Endpoint | undefined;
  /** Where else it saw the peer, behind a NAT with a pool of addresses: no other address is searched. */
  #addresses: readonly string[] = [];
  #sampler: PortSampler | undefined;
  /** When this end's counter was read last, the peer having been told of it. */
  #sampledHere: Instant | undefined;
  #sampledThere: PortSample | undefined;
  #prediction: PortPrediction | undefined;
  #predictionStage: StageOf<'port prediction'> | undefined;
  /** Predictions begun; each has sockets of its own. */
  #predictions = 0;
  #birthday: Birthday | undefined;
  #birthdayStage: StageOf<'birthday'> | undefined;
  /** When to ask for leave to begin the birthday. */
  #birthdayAt: Instant | undefined;
  #refusal: string | undefined;
  #ended = false;

  constructor(options: PortSearchOptions) {
    this.#options = options;
    this.#sampler = PortSampler.of(options);
  }

  get technique(): Stage['technique'] {
    return this.#prediction && !this.#birthday ? 'port prediction' : 'birthday';
  }

  /** True once sockets of its own may be open. */
  get begun(): boolean {
    return this.#predictions > 0 || this.#birthday !== undefined || this.#sampler?.begun === true;
  }

  get deadline(): Instant | undefined {
    if (this.#ended || this.#options.probes.isSettled) return undefined;
    const samples = this.#sampler?.deadline;
    return earliest(samples, this.#prediction?.deadline, this.#birthday?.deadline, this.#birthdayAt);
  }

  /**
   * This end's NAT counts up, and its port may have to be predicted: takes the first sample, which needs no leave of
   * the peer's, before the plan is settled.
   */
  prepare(now: Instant): void {
    if (!this.#ended) this.#sampler?.sample(SAMPLE_MS, now);
  }

  /**
   * Takes up what the plan asks for. It is called again when the plan has changed: an end may begin before the other's
   * NAT, or its own, is measured. A birthday that has begun goes on.
   * @param mappings at which the rendezvous saw the peer; at least one
   */
  follow(
    { stages }: Plan,
    mappings: readonly [Endpoint, ...Endpoint[]],
    startAt: Instant,
    roundTripMs: number,
    now: Instant,
  ): void {
    const own = stages.filter(({ transport }) => transport === this.#options.transport);
    const prediction = own.find((stage) => stage.technique === 'port prediction');
    const birthday = own.find((stage) => stage.technique === 'birthday');
    this.#target ??= mappings[0];
    this.#addresses = mappings.map(({ address }) => address);
    this.#followPrediction(prediction, startAt, roundTripMs, now);
    const before = this.#birthdayStage;
    this.#birthdayStage = birthday;
    if (this.#birthday || birthday?.many === before?.many) return;
    // No flood over IPv4 where a probe over IPv6 is about to be answered.
    const overIPv6 = stages.some(({ transport, ipv6 }) => transport === 'udp' && ipv6);
    const floodAt = startAt + (overIPv6 ? 2 * roundTripMs + 50 : 0);
    const triedAt = startAt + PREDICTION_TRIES * predictionTryMs(roundTripMs);
    this.#birthdayAt = birthday && (prediction ? triedAt : floodAt);
  }

  #followPrediction(
    stage: StageOf<'port prediction'> | undefined,
    startAt: Instant,
    roundTripMs: number,
    now: Instant,
  ): void {
    if (samePrediction(stage, this.#predictionStage)) return;
    this.#predictionStage = stage;
    this.#prediction = undefined;
    if (!stage || this.#predictions >= MAX_PREDICTIONS) return;
    this.#prediction = this.#predict(stage, startAt, roundTripMs);
    if (this.#sampledHere !== undefined) this.#prediction.sampledHere(this.#sampledHere, now);
    if (this.#sampledThere) this.learnSample(this.#sampledThere, now);
    this.#prediction.handleTimeout(now);
  }

  handleTimeout(now: Instant): void {
    if (this.#ended) return;
    this.#sampler?.handleTimeout(now);
    this.#prediction?.handleTimeout(now);
    if (this.#birthdayAt !== undefined && now >= this.#birthdayAt) this.#beginBirthday(now);
    this.#birthday?.handleTimeout(now);
  }

  /** A STUN server's answer to one of our samples; false for anything else. */
  takeSample(socket: number, bytes: Uint8Array, now: Instant): boolean {
    const candidate = this.#ended ? undefined : this.#sampler?.read(socket, bytes);
    if (!candidate) return false;
    this.#options.emit({ type: 'tell-sample', candidate });
    this.noteSample(now, now);
    return true;
  }

  /** This end's NAT has made a new mapping, which the peer is told of. */
  noteSample(seenAt: Instant, now: Instant): void {
    if (this.#sampledHere !== undefined && seenAt <= this.#sampledHere) return;
    this.#sampledHere = seenAt;
    this.#sampler?.noteRead(seenAt);
    this.#prediction?.sampledHere(seenAt, now);
  }

  /** The peer's NAT has made a new mapping. */
  learnSample(sample: PortSample, now: Instant): void {
    this.#sampledThere = sample;
    if (sample.endpoint.address === this.#target?.address && !this.#ended) {
      this.#prediction?.sampledThere(sample, now);
    }
  }

  /** A probe was answered by a refusal. */
  refused(socket: number, to: Endpoint, now: Instant): void {
    if (this.#ended) return;
    if (this.#birthday) this.#birthday.refused(socket, to, now);
    else this.#prediction?.refused(socket, to, now);
  }

  end(): void {
    this.#ended = true;
    this.#options.floods.release(this, this.#birthday?.sent ?? 0);
  }

  #predict(
    { predicted, steps }: StageOf<'port prediction'>,
    startAt: Instant,
    roundTripMs: number,
  ): PortPrediction {
    const { role, probes, transport } = this.#options;
    return new PortPrediction(
      {
        probes,
        predicted: predicted === 'both' ? 'both' : predicted === role ? 'here' : 'there',
        step: steps[otherRole(role)],
        target: this.#target!,
        sampler: this.#sampler,
        width: (nth) => predictedPorts(transport, nth),
        sockets: this.#predictions++,
        roundTripMs,
      },
      startAt,
    );
  }

  #beginBirthday(now: Instant): void {
    const { role, peer, transport, probes, floods, ttl, trace } = this.#options;
    const target = this.#target!;
    const stage = this.#birthdayStage!;
    const sockets = stage.many === role ? stage.sockets : undefined;
    const addresses =
      sockets === undefined
        ? [...new Set([target.address, ...this.#addresses])].slice(0, BIRTHDAY_ADDRESSES)
        : [target.address];
    const wish = sockets === undefined ? wishForPorts(stage) : wishForRows(transport, sockets);
    const leave = floods.claim(this, { transport, addresses, peer, ...wish }, now);
    if ('refusal' in leave) {
      if (leave.refusal !== this.#refusal) trace('birthday', `waits: ${leave.refusal}`, now);
      this.#refusal = leave.refusal;
      this.#birthdayAt = now + FLOOD_RETRY_MS;
      return;
    }
    this.#birthdayAt = undefined;
    const probe = transport === 'udp' ? 'probes' : 'TCP dials, at most once an hour,';
    const what =
      sockets === undefined
        ? `${probe} to up to ${leave.probes} ports of ${addresses.join(', ')}`
        : `${probe} from ${sockets} sockets, all to ${formatEndpoint(target)}`;
    trace('birthday', what, now);
    this.#birthday = new Birthday(
      {
        probes,
        most: leave.probes,
        rowEveryMs: BIRTHDAY_ROWS[transport].everyMs,
        sockets,
        target,
        addresses,
        ttl,
        integer: (below) => this.#integer(below),
      },
      now,
    );
  }

  /** Uniform from 0 to below `below`. */
  #integer(below: number): number {
    const bytes = this.#options.random(4);
    const word = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    return Math.floor((word / 2 ** 32) * below);
  }
}

/** What the end that looks for ports asks for: a few are no search. */
function wishForPorts({ ports, flows }: BirthdaySize): Pick<Flood, 'least' | 'most' | 'flows'> {
  return { least: BIRTHDAY_PROBES_OF_USE, most: ports, flows };
}

/** And the end with the many sockets: a row without a second one opens no filter of the peer's. */
function wishForRows(transport: Transport, sockets: number): Pick<Flood, 'least' | 'most' | 'flows'> {
  return { least: 2 * sockets, most: BIRTHDAY_ROWS[transport].count * sockets, flows: sockets };
}

function samePrediction(
  one: StageOf<'port prediction'> | undefined,
  other: StageOf<'port prediction'> | undefined,
): boolean {
  if (!one || !other) return one === other;
  const { initiator, responder } = one.steps;
  const sameSteps = initiator === other.steps.initiator && responder === other.steps.responder;
  return one.predicted === other.predicted && sameSteps;
}
