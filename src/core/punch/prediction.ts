import type { Endpoint } from '../endpoint.ts';
import { earliest, type Instant } from '../machine.ts';
import type { PortSample } from './events.ts';
import type { PortProbes } from './port-probes.ts';
import type { PortSampler } from './sampler.ts';
import { PREDICTION_SOCKETS, PREDICTION_TRIES, predictionTryMs } from './schedule.ts';

export interface PortPredictionOptions {
  readonly probes: PortProbes;
  /** Whose NAT takes the next port for each destination. */
  readonly predicted: 'here' | 'there' | 'both';
  /** What the NAT over there adds from one mapping to the next. */
  readonly step: number;
  /** The other end's mapping, where it doesn't have to be predicted. */
  readonly target: Endpoint;
  /** `undefined` where no STUN server is known: then this end can't be predicted. */
  readonly sampler: PortSampler | undefined;
  /** How many ports after the sampled one are aimed at, at the `nth` sample from 0. */
  readonly width: (nth: number) => number;
  /** Which range of socket numbers: a socket that was used before has a mapping already. */
  readonly sockets: number;
  readonly roundTripMs: number;
}

/** Below are the sockets of a birthday and of samples. Each prediction takes a range: one for each try, 25 for each volley. */
const FIRST_SOCKET = 1_000;
const SOCKETS = PREDICTION_TRIES * (1 + PREDICTION_SOCKETS);

/** After the first shot; each probe of a volley is sent again, because a lost one would waste the try. */
const VOLLEY_OFFSETS = [0, 120, 350];

/** The same where it is a single probe: it may come before the peer has aimed, or be refused until then. */
const SINGLE_OFFSETS = [0, 20, 40, 80, 120, 200, 350];

/** Dials again after a refusal, from where and to where it came. */
const MAX_REDIALS = 10;

/** Aims at samples: one of each try, and one that the peer had from before. */
const MAX_AIMS = PREDICTION_TRIES + 1;

/** After a contact the checks repeat by themselves; a new try waits this long. */
const CONTACT_MS = 1_500;

/** A sample older than this says nothing about a NAT in use. */
export const SAMPLE_MS = 700;

/**
 * A NAT with sequential allocation gives each new mapping the port after the last one's. So that end asks a STUN
 * server which port a fresh socket gets, tells the peer, and sends a probe of its own, which takes the next port; the
 * peer aims at the few ports after the one it was told.
 *
 * Asking takes a round trip to the server. So the first sample is taken as soon as this end knows of the session,
 * before it may send the peer anything (`PortSearch.prepare`), and travels while keys are being confirmed. A later
 * try takes its own, in the same instant as its probe.
 *
 * Where both NATs are sequential, both sample, and both then send from 25 fresh sockets, all to *one* port of the
 * other: the thirteenth after its sample. Each end's volley covers that port, drift of up to twelve included.
 */
export class PortPrediction {
  #options: PortPredictionOptions;
  #agenda: { at: Instant; act: (now: Instant) => void }[] = [];
  #tries = 0;
  #volleys = 0;
  /** Volleys at ports that the peer's samples led to; a peer that tells of more than it should gets no more. */
  #aimed = 0;
  #redials = 0;
  #sampledHere: Instant | undefined;
  #sampledThere: PortSample | undefined;

  constructor(options: PortPredictionOptions, startAt: Instant) {
    this.#options = options;
    for (let n = 0; n < PREDICTION_TRIES; n++) {
      const at = startAt + n * predictionTryMs(options.roundTripMs);
      this.#agenda.push({ at, act: (now) => this.#try(now) });
    }
  }

  get #firstSocket(): number {
    return FIRST_SOCKET + this.#options.sockets * SOCKETS;
  }

  get deadline(): Instant | undefined {
    return this.#options.probes.isSettled ? undefined : earliest(...this.#agenda.map(({ at }) => at));
  }

  handleTimeout(now: Instant): void {
    if (this.#options.probes.isSettled) return;
    const due = this.#agenda.filter(({ at }) => at <= now);
    this.#agenda = this.#agenda.filter(({ at }) => at > now);
    for (const { act } of due) act(now);
  }

  /** This end's counter was read, and the peer told of it. */
  sampledHere(seenAt: Instant, now: Instant): void {
    this.#sampledHere = seenAt;
    this.#volleyIfBothKnown(now);
  }

  /** The peer tells where its NAT's counter stands. */
  sampledThere(sample: PortSample, now: Instant): void {
    if (now - sample.seenAt > SAMPLE_MS) return;
    if (this.#options.predicted === 'there') {
      if (this.#aimed < MAX_AIMS) this.#aimAtNext(sample.endpoint, now);
      return;
    }
    this.#sampledThere = sample;
    this.#volleyIfBothKnown(now);
  }

  /**
   * TCP, where a NAT answers strays by RST: one end's SYN was too early, and its end of the attempt is over, while a
   * later one of the other's finds nobody. Who dials again at once meets it.
   */
  refused(socket: number, to: Endpoint, now: Instant): void {
    if (this.#redials++ < MAX_REDIALS) this.#options.probes.spray(socket, to, now);
  }

  #try(now: Instant): void {
    const { probes, predicted, sampler, target, roundTripMs } = this.#options;
    const { contactAt } = probes;
    if (predicted === 'there' || !sampler) return;
    if (contactAt !== undefined && now - contactAt < CONTACT_MS) return;
    sampler.sample(earlySampleMs(roundTripMs), now);
    const socket = this.#firstSocket + this.#tries++;
    if (predicted === 'here') this.#repeat(SINGLE_OFFSETS, now, (at) => probes.spray(socket, target, at));
  }

  #aimAtNext({ address, port }: Endpoint, now: Instant): void {
    const { probes, step, width } = this.#options;
    const ports = Array.from({ length: width(this.#aimed++) }, (_, k) => port + step * (k + 1));
    this.#repeat(VOLLEY_OFFSETS, now, (at) => {
      for (const next of ports.filter(isPort)) probes.spray(0, { address, port: next }, at);
    });
  }

  #volleyIfBothKnown(now: Instant): void {
    const [here, there] = [this.#sampledHere, this.#sampledThere];
    if (this.#options.predicted !== 'both' || here === undefined || !there) return;
    if (now - here > SAMPLE_MS || now - there.seenAt > SAMPLE_MS || this.#volleys >= PREDICTION_TRIES) return;
    this.#sampledHere = this.#sampledThere = undefined;
    const { probes, step } = this.#options;
    const port = there.endpoint.port + step * Math.ceil(PREDICTION_SOCKETS / 2);
    if (!isPort(port)) return;
    const first = this.#firstSocket + PREDICTION_TRIES + this.#volleys++ * PREDICTION_SOCKETS;
    this.#repeat(VOLLEY_OFFSETS, now, (at) => {
      for (let i = 0; i < PREDICTION_SOCKETS; i++) {
        probes.spray(first + i, { address: there.endpoint.address, port }, at);
      }
    });
  }

  #repeat(offsets: readonly number[], now: Instant, act: (now: Instant) => void): void {
    for (const offset of offsets) {
      if (offset === 0) act(now);
      else this.#agenda.push({ at: now + offset, act });
    }
  }
}

/** A sample that was taken while the ends were being introduced is as good as one that is taken now. */
function earlySampleMs(roundTripMs: number): number {
  return Math.min(SAMPLE_MS / 2, 100 + 2 * roundTripMs);
}

function isPort(port: number): boolean {
  return port >= 1_024 && port <= 65_535;
}
