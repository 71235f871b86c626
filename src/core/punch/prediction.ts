import type { Endpoint } from '../endpoint.ts';
import { earliest, type Instant } from '../machine.ts';
import type { Candidate } from './candidate.ts';
import type { PunchOutput } from './events.ts';
import type { PortProbes } from './port-probes.ts';
import type { PortSampler } from './sampler.ts';
import { PREDICTION_SOCKETS, PREDICTION_TRIES } from './schedule.ts';

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
  readonly emit: (output: PunchOutput) => void;
}

/** Below are the sockets of a birthday. Each prediction takes a range: first the sockets that sample, then those that volley. */
const FIRST_SOCKET = 1_000;
const SOCKETS = PREDICTION_TRIES * (1 + PREDICTION_SOCKETS);

/** After the first shot; each probe of a volley is sent again, because a lost one would waste the try. */
const VOLLEY_OFFSETS = [0, 120, 350];

/** Of a sample's request; a later answer would say too little. */
const RETRANSMISSIONS = [60, 150];

/** One of each try, and what an earlier round's left on the way. */
const MAX_SAMPLES = 2 * PREDICTION_TRIES;

/** After a contact the checks repeat by themselves; a new try waits this long. */
const CONTACT_MS = 1_500;

/** A sample older than this says nothing about a NAT in use. */
const SAMPLE_MS = 700;

/**
 * A NAT with sequential allocation gives each new mapping the port after the last one's. So that end asks a STUN
 * server, sends the port that was seen to the peer, and in the same instant sends its own probe, which takes the next
 * port; the peer aims at the few ports after the one it was told.
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
  #sampledHere: Instant | undefined;
  #sampledThere: { endpoint: Endpoint; at: Instant } | undefined;

  constructor(options: PortPredictionOptions, startAt: Instant, tryMs: number) {
    this.#options = options;
    for (let n = 0; n < PREDICTION_TRIES; n++) {
      this.#agenda.push({ at: startAt + n * tryMs, act: (now) => this.#try(now) });
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

  /** A STUN server's answer to one of our samples; false for anything else. */
  takeSample(socket: number, bytes: Uint8Array, now: Instant): boolean {
    const candidate = this.#options.sampler?.read(socket, bytes);
    if (!candidate) return false;
    this.#tell(candidate);
    this.#sampledHere = now;
    this.#volleyIfBothKnown(now);
    return true;
  }

  /** The peer tells where its NAT's counter stands. */
  learnSample(endpoint: Endpoint, now: Instant): void {
    if (this.#options.predicted === 'there') {
      if (this.#aimed < MAX_SAMPLES) this.#aimAtNext(endpoint, now);
      return;
    }
    this.#sampledThere = { endpoint, at: now };
    this.#volleyIfBothKnown(now);
  }

  #try(now: Instant): void {
    const { probes, predicted, sampler, target } = this.#options;
    const { contactAt } = probes;
    if (predicted === 'there' || !sampler) return;
    if (contactAt !== undefined && now - contactAt < CONTACT_MS) return;
    const socket = this.#firstSocket + this.#tries++;
    sampler.ask(socket);
    for (const offset of RETRANSMISSIONS) {
      this.#agenda.push({ at: now + offset, act: () => sampler.askAgain(socket) });
    }
    if (predicted === 'here') this.#repeat(now, (at) => probes.spray(socket, target, at));
  }

  #tell(candidate: Candidate): void {
    this.#options.emit({ type: 'trickle', candidate });
  }

  #aimAtNext({ address, port }: Endpoint, now: Instant): void {
    const { probes, step, width } = this.#options;
    const ports = Array.from({ length: width(this.#aimed++) }, (_, k) => port + step * (k + 1));
    this.#repeat(now, (at) => {
      for (const next of ports.filter(isPort)) probes.spray(0, { address, port: next }, at);
    });
  }

  #volleyIfBothKnown(now: Instant): void {
    const [here, there] = [this.#sampledHere, this.#sampledThere];
    if (this.#options.predicted !== 'both' || here === undefined || !there) return;
    if (now - here > SAMPLE_MS || now - there.at > SAMPLE_MS || this.#volleys >= PREDICTION_TRIES) return;
    this.#sampledHere = this.#sampledThere = undefined;
    const { probes, step } = this.#options;
    const port = there.endpoint.port + step * Math.ceil(PREDICTION_SOCKETS / 2);
    if (!isPort(port)) return;
    const first = this.#firstSocket + PREDICTION_TRIES + this.#volleys++ * PREDICTION_SOCKETS;
    this.#repeat(now, (at) => {
      for (let i = 0; i < PREDICTION_SOCKETS; i++) {
        probes.spray(first + i, { address: there.endpoint.address, port }, at);
      }
    });
  }

  #repeat(now: Instant, act: (now: Instant) => void): void {
    for (const offset of VOLLEY_OFFSETS) {
      if (offset === 0) act(now);
      else this.#agenda.push({ at: now + offset, act });
    }
  }
}

function isPort(port: number): boolean {
  return port >= 1_024 && port <= 65_535;
}
