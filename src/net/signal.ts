import { EventEmitter } from 'node:events';
import { randomBytes } from 'node:crypto';
import { Backoff } from '../core/backoff.ts';
import { SallyportError, asSallyportError, type ErrorCode } from '../core/errors.ts';
import type { PeerId } from '../core/identity.ts';
import { ClockOffset } from '../core/protocol/clock-offset.ts';
import type { ToNode, ToRendezvous } from '../core/protocol/rendezvous.ts';
import { systemClock, type Clock } from './clock.ts';
import type { MessageChannel } from './message-channel.ts';
import type { Origin } from './origin.ts';
import { refusal, register, relayInfos, type Grant, type Registrant, type RelayInfo } from './register.ts';

export interface SignalOptions extends Origin, Omit<Registrant, 'boot' | 'instance' | 'secret'> {
  readonly boot?: Uint8Array | undefined;
  readonly instance?: Uint8Array | undefined;
  readonly secret?: Uint8Array | undefined;
  /** The deployment's id, if it is known; otherwise the first one seen is reported by `pin` and kept. */
  readonly deployment?: PeerId | undefined;
  readonly clock?: Clock | undefined;
}

/** What reaches the role; registration and lease are dealt with here. */
export type SignalMessage = Exclude<ToNode, { t: 'challenge' | 'registered' | 'pong' | 'relays' }>;

export interface SignalEvents {
  /** Registered, for the first time or again. */
  registered: [grant: Grant];
  message: [message: SignalMessage];
  relays: [relays: readonly RelayInfo[]];
  /** An unpinned deployment's id, before anything is sent to it that matters. */
  pin: [id: PeerId];
  /** No connection; another attempt follows. */
  down: [why: SallyportError];
  /** Trying again can't help; the connection is closed. */
  error: [why: SallyportError];
}

const FATAL: readonly ErrorCode[] = [
  'NOT_AUTHORIZED',
  'TOKEN_INVALID',
  'ALREADY_REGISTERED',
  'VERSION_UNSUPPORTED',
  'IDENTITY_CHANGED',
  'CONFIG_INVALID',
];
const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 5_000;
/** The first pings come close together: one clock sample may have met a queue. */
const FIRST_PINGS_MS = [0, 250, 500];
const PING_MS = 20_000;
const PONG_MS = 5_000;
const CHECK_PONG_MS = 1_500;

/** A node's standing registration at a rendezvous: comes back by itself after every loss until closed or refused. */
export class SignalConnection extends EventEmitter<SignalEvents> {
  readonly #options: SignalOptions;
  readonly #registrant: Registrant;
  readonly #clock: Clock;
  readonly #offset = new ClockOffset();
  readonly #backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, Math.random);
  /** Each attempt has its number; an earlier one that comes through late is dropped. */
  #attempt = 0;
  #channel: MessageChannel | undefined;
  #grant: Grant | undefined;
  #deployment: PeerId | undefined;
  #restartInMs: number | undefined;
  #failure: SallyportError | undefined;
  #closed = false;
  #cancelRetry: (() => void) | undefined;
  #cancelPing: (() => void) | undefined;
  #cancelPongTimeout: (() => void) | undefined;

  /** Starts connecting at once. */
  constructor(options: SignalOptions) {
    super();
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#deployment = options.deployment;
    const fresh = () => new Uint8Array(randomBytes(16));
    const { boot = fresh(), instance = fresh(), secret = fresh() } = options;
    this.#registrant = { ...options, boot, instance, secret };
    void this.#connect();
  }

  get url(): string {
    return this.#options.url;
  }

  /** `undefined` while there is no registration. */
  get grant(): Grant | undefined {
    return this.#channel && this.#grant;
  }

  /** The deployment as pinned, or as first seen. */
  get deployment(): PeerId | undefined {
    return this.#deployment;
  }

  /** This registration's own name, which others' answers and `gone` carry. */
  get instance(): Uint8Array {
    return this.#registrant.instance;
  }

  get relays(): readonly RelayInfo[] {
    return this.#grant?.relays ?? [];
  }

  /** Add this to `clock.now()` to get the rendezvous's clock; `undefined` before the first pong. */
  get offsetMs(): number | undefined {
    return this.#offset.offsetMs;
  }

  get rttMs(): number | undefined {
    return this.#offset.rttMs;
  }

  /** False when there is no registration now; then nothing was sent. */
  send(message: ToRendezvous): boolean {
    this.#channel?.send(message);
    return this.#channel !== undefined;
  }

  /**
   * The registration, once there is one. Rejects on the first failure that trying again can't mend, and on any
   * failure with `firstAttemptOnly`.
   */
  async whenRegistered({ firstAttemptOnly = false, signal }: WaitOptions = {}): Promise<Grant> {
    if (this.grant) return this.grant;
    if (this.#failure) throw this.#failure;
    return new Promise((resolve, reject) => {
      const onDown = (why: SallyportError) => firstAttemptOnly && settle(() => reject(why));
      const onError = (why: SallyportError) => settle(() => reject(why));
      const onRegistered = (grant: Grant) => settle(() => resolve(grant));
      const onAbort = () => settle(() => reject(new SallyportError('ABORTED', 'given up')));
      const settle = (conclude: () => void) => {
        this.off('registered', onRegistered).off('error', onError).off('down', onDown);
        signal?.removeEventListener('abort', onAbort);
        conclude();
      };
      this.on('registered', onRegistered).on('error', onError).on('down', onDown);
      signal?.addEventListener('abort', onAbort);
      if (signal?.aborted) onAbort();
    });
  }

  /** Something else has gone silent: this connection has to answer soon, or another takes its place. */
  check(): void {
    if (!this.#channel) return;
    this.#cancelPing?.();
    this.#ping(FIRST_PINGS_MS.length, CHECK_PONG_MS);
  }

  /** Drops the connection, which may be dead in silence, and opens a new one at once. */
  reconnectNow(): void {
    if (this.#closed) return;
    this.#drop();
    this.#backoff.reset();
    void this.#connect();
  }

  /** Ends the lease at once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#attempt += 1;
    this.#channel?.send({ t: 'bye' });
    this.#channel?.close();
    this.#channel = undefined;
    this.#cancelTimers();
  }

  async #connect(): Promise<void> {
    const attempt = ++this.#attempt;
    this.#cancelRetry?.();
    try {
      const { channel, grant } = await register(this.#options, this.#registrant, this.#deployment);
      if (attempt === this.#attempt) this.#begin(channel, grant);
      else channel.terminate();
    } catch (thrown) {
      if (attempt === this.#attempt) this.#lose(asSallyportError(thrown, 'RENDEZVOUS_UNREACHABLE'));
    }
  }

  #begin(channel: MessageChannel, grant: Grant): void {
    if (this.#deployment === undefined) {
      this.#deployment = grant.deployment;
      this.emit('pin', grant.deployment);
    }
    this.#channel = channel;
    this.#grant = grant;
    this.#backoff.reset();
    this.#offset.reset();
    this.#ping(0);
    this.emit('registered', grant);
    channel.run(
      (message) => this.#receive(message),
      (why) => channel === this.#channel && this.#lose(why),
    );
  }

  #receive(message: ToNode): void {
    switch (message.t) {
      case 'challenge':
      case 'registered':
        break; // out of turn, without meaning
      case 'pong':
        this.#offset.add(message.sent, this.#clock.now(), message.time);
        this.#cancelPongTimeout?.();
        break;
      case 'relays':
        this.#grant = { ...this.#grant!, relays: relayInfos(message.relays, this.url) };
        this.emit('relays', this.relays);
        break;
      case 'error':
        if (message.session === undefined) this.#lose(refusal(message));
        else this.emit('message', message);
        break;
      case 'restarting':
        this.#restartInMs = message.reconnectInMs;
        this.emit('message', message);
        break;
      case 'offer':
      case 'answer':
      case 'refuse':
      case 'trickle':
      case 'renewed':
      case 'resolved':
      case 'gone':
        this.emit('message', message);
        break;
    }
  }

  #ping(count: number, patienceMs = PONG_MS): void {
    const wait = (FIRST_PINGS_MS[count + 1] ?? Infinity) - (FIRST_PINGS_MS[count] ?? 0);
    this.#channel?.send({ t: 'ping', sent: this.#clock.now() });
    const silent = () =>
      this.#lose(new SallyportError('RENDEZVOUS_UNREACHABLE', 'the rendezvous fell silent'));
    this.#cancelPongTimeout?.();
    this.#cancelPongTimeout = this.#clock.setTimer(silent, patienceMs);
    this.#cancelPing = this.#clock.setTimer(() => this.#ping(count + 1), Math.min(wait, PING_MS));
  }

  #lose(why: SallyportError): void {
    this.#drop();
    if (FATAL.includes(why.code)) {
      this.#failure = why;
      this.#closed = true;
      this.emit('error', why);
      return;
    }
    const wait = this.#restartInMs ?? this.#backoff.next();
    this.#restartInMs = undefined;
    this.#cancelRetry = this.#clock.setTimer(() => void this.#connect(), wait);
    this.emit('down', why);
  }

  #drop(): void {
    this.#attempt += 1;
    this.#channel?.terminate();
    this.#channel = undefined;
    this.#cancelTimers();
  }

  #cancelTimers(): void {
    this.#cancelRetry?.();
    this.#cancelPing?.();
    this.#cancelPongTimeout?.();
  }
}

export interface WaitOptions {
  readonly firstAttemptOnly?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}
