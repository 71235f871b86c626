import { equalBytes } from '../bytes.ts';
import type { Endpoint } from '../endpoint.ts';
import { earliest, type Instant } from '../machine.ts';
import { bindingRequest, readResponse } from '../stun/request.ts';
import { Rhythm, type SurveyOptions, type UdpSurveyOutput } from './survey.ts';

export interface MappingLeaseOptions extends SurveyOptions {
  /** The number of the socket whose mapping it is, and of the one that asks for an answer there. */
  readonly socket: number;
  readonly asker: number;
  /** How long the mapping lies idle, milliseconds. */
  readonly idleMs: number;
  emit(output: UdpSurveyOutput): void;
}

type Phase =
  /** Makes the mapping, and once more when it has seen traffic for a while: some NATs keep those longer. */
  | 'first'
  | 'second'
  | 'idle'
  /** The other socket has the server answer to the idle mapping. */
  | 'asking'
  /** None came. The same with a mapping that has just been renewed shows whether one could have come. */
  | 'renewing'
  | 'control';

/** Whether one socket's mapping outlives so long a silence (RFC 5780 §4.6). */
export class MappingLease {
  readonly #options: MappingLeaseOptions;
  #phase: Phase = 'first';
  #rhythm: Rhythm;
  #phaseEndsAt: Instant;
  #transactionId: Uint8Array;
  #mapped: Endpoint | undefined;
  /** `undefined` until it is settled, `unknown` where the server or the network won't play along. */
  verdict: 'alive' | 'dead' | 'unknown' | undefined;

  constructor(options: MappingLeaseOptions, now: Instant) {
    this.#options = options;
    this.#transactionId = options.random(12);
    this.#rhythm = new Rhythm(REQUESTS_AT, now);
    this.#phaseEndsAt = now + REQUESTS_AT.at(-1)! + PATIENCE_MS;
    this.#transmit(now);
  }

  get deadline(): Instant | undefined {
    return this.verdict ? undefined : earliest(this.#rhythm.next, this.#phaseEndsAt);
  }

  handleTimeout(now: Instant): void {
    if (this.verdict) return;
    this.#transmit(now);
    if (this.#phaseEndsAt > now) return;
    switch (this.#phase) {
      case 'first':
      case 'second':
      case 'renewing':
      case 'control':
        this.verdict = 'unknown';
        break;
      case 'idle':
        this.#enter('asking', now);
        break;
      case 'asking':
        this.#enter('renewing', now);
        break;
    }
  }

  /** A datagram on this lease's own socket. */
  receive(bytes: Uint8Array, now: Instant): void {
    const reply = readResponse(bytes, this.#options.credentials);
    if (this.verdict || !reply || !equalBytes(reply.transactionId, this.#transactionId)) return;
    switch (this.#phase) {
      case 'first':
        this.#mapped = reply.mapped;
        this.#enter('second', now);
        break;
      case 'second':
        this.#mapped = reply.mapped;
        this.#enter('idle', now);
        break;
      case 'renewing':
        this.#mapped = reply.mapped;
        this.#enter('control', now);
        break;
      case 'asking':
        this.verdict = 'alive';
        break;
      case 'control':
        this.verdict = 'dead';
        break;
      case 'idle':
        break;
    }
  }

  #enter(phase: Phase, now: Instant): void {
    this.#phase = phase;
    this.#transactionId = this.#options.random(12);
    const delay = phase === 'second' ? TRAFFIC_MS : 0;
    this.#rhythm = new Rhythm(phase === 'idle' ? [] : REQUESTS_AT.map((at) => at + delay), now);
    this.#phaseEndsAt =
      phase === 'idle'
        ? now + this.#options.idleMs - EARLY_MS
        : now + delay + REQUESTS_AT.at(-1)! + PATIENCE_MS;
    this.#transmit(now);
  }

  #transmit(now: Instant): void {
    const { servers, credentials, socket, asker } = this.#options;
    const [to] = servers;
    if (!to || !this.#rhythm.take(now)) return;
    const isElsewhere = this.#phase === 'asking' || this.#phase === 'control';
    const responsePort = isElsewhere ? this.#mapped?.port : undefined;
    const bytes = bindingRequest(this.#transactionId, credentials, { responsePort });
    this.#options.emit({ type: 'send', socket: isElsewhere ? asker : socket, to, bytes });
  }
}

const REQUESTS_AT = [0, 200, 500, 900, 1_400];
const PATIENCE_MS = 600;
/** Linux gives a flow its longer timeout when it has seen traffic both ways for more than 2 s. */
const TRAFFIC_MS = 2_500;
/** The first of the requests arrives before a mapping of exactly that lifetime is gone. */
const EARLY_MS = 500;
