import { EventEmitter } from 'node:events';
import { randomBytes } from 'node:crypto';
import { Backoff } from '../core/backoff.ts';
import { SallyportError, type ErrorCode } from '../core/errors.ts';
import type { PeerId } from '../core/identity.ts';
import { ClockOffset } from '../core/protocol/clock-offset.ts';
import type { ToNode, ToRendezvous } from '../core/protocol/rendezvous.ts';
import { systemClock, type Clock } from './clock.ts';
import type { MessageChannel } from './message-channel.ts';
import type { Origin } from './origin.ts';
import { PacedMessages } from './paced-messages.ts';
import { Race, type Attempting } from './race.ts';
import {
  refusal,
  register,
  relayInfos,
  type Asked,
  type Grant,
  type Registered,
  type Registrant,
  type RelayInfo,
} from './register.ts';

export interface SignalOptions extends Origin, Omit<Registrant, 'boot' | 'instance' | 'secret'> {
  readonly boot?: Uint8Array | undefined;
  readonly instance?: Uint8Array | undefined;
  readonly secret?: Uint8Array | undefined;
  /** The deployment's id, if it is known; otherwise the first one seen is kept. */
  readonly deployment?: PeerId | undefined;
  readonly clock?: Clock | undefined;
}

/** What reaches the role; registration and lease are dealt with here. */
export type SignalMessage = Exclude<ToNode, { t: 'challenge' | 'registered' | 'pong' | 'relays' }>;

export interface SignalEvents {
  /** The rendezvous, whose key was known, is asked to register a dialler for the first time. */
  asked: [];
  /** Registered, for the first time or again; `anew` by another connection than the one that anything was sent by before. */
  registered: [grant: Grant, anew: boolean];
  message: [message: SignalMessage];
  relays: [relays: readonly RelayInfo[]];
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
/** A registration that is lost sooner is no reason to be quick again. */
const STOOD_MS = 10_000;
/** The first pings come close together: one clock sample may have met a queue. */
const FIRST_PINGS_MS = [0, 250, 500];
const PING_MS = 20_000;
/** However many things wait for what this connection carries, they are checked by one ping. */
const LEAST_PING_MS = 100;
/** A ping without an answer for so long has another connection begun beside this one, … */
const DOUBT_MS = 2_500;
/** … sooner where something waits for what this one carries (or three round trips), … */
const CHECK_DOUBT_MS = 700;
/** … and this one given up. */
const PONG_MS = 5_000;
/** The time in a grant is hardly ever older when that arrives. */
const GRANT_MS = 5_000;

/**
 * A node's standing registration at a rendezvous: comes back by itself after every loss until closed or refused. A
 * connection that is merely silent stays until another has taken its place, so that the node can be reached meanwhile.
 */
export class SignalConnection extends EventEmitter<SignalEvents> {
  readonly #options: SignalOptions;
  readonly #registrant: Registrant;
  readonly #clock: Clock;
  readonly #offset = new ClockOffset();
  /** It was measured over an earlier connection, or roughly by registering, and serves until this one has a measurement of its own. */
  #offsetIsOld = false;
  readonly #backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, Math.random);
  readonly #race: Race<Registered>;
  #channel: MessageChannel | undefined;
  /** Before the first registration: what a dialler sends by this needn't wait for it. A listener may have to wait for a rival. */
  #asked: Asked | undefined;
  /** There was such a one, which may have broken off: who sent something by it does so again only where another is registered. */
  #hasAsked = false;
  readonly #messages: PacedMessages;
  #grant: Grant | undefined;
  #deployment: PeerId | undefined;
  #restartInMs: number | undefined;
  #failure: SallyportError | undefined;
  #closed = false;
  #cancelRetry: (() => void) | undefined;
  #cancelStood: (() => void) | undefined;
  #cancelPing: (() => void) | undefined;
  #pingedAt = -Infinity;
  /** When a ping without an answer gives rise to doubt; `undefined` while all are answered. */
  #doubtAt: number | undefined;
  #cancelDoubt: (() => void) | undefined;
  #cancelSilence: (() => void) | undefined;
  /** It has been silent for too long, and stays only while others are attempted beside it. */
  #silent = false;

  /** Starts connecting at once. */
  constructor(options: SignalOptions) {
    super();
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#messages = new PacedMessages(this.#clock, (message) => this.#sending?.send(message));
    this.#deployment = options.deployment;
    const fresh = () => new Uint8Array(randomBytes(16));
    const { boot = fresh(), instance = fresh(), secret = fresh() } = options;
    this.#registrant = { ...options, boot, instance, secret };
    this.#race = new Race({
      attempt: (attempting) => this.#register(attempting),
      clock: this.#clock,
      failure: 'RENDEZVOUS_UNREACHABLE',
      onResult: (registered) => this.#begin(registered),
      discard: ({ channel }) => channel.abandon(),
      onFailure: (why, left) => this.#onFailure(why, left),
    });
    this.#race.begin();
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

  /** Why the registration is lost for good. */
  get failure(): SallyportError | undefined {
    return this.#failure;
  }

  /** This registration's own name, which others' answers and `gone` carry. */
  get instance(): Uint8Array {
    return this.#registrant.instance;
  }

  get relays(): readonly RelayInfo[] {
    return this.#grant?.relays ?? [];
  }

  /** Add this to `clock.now()` to get the rendezvous's clock; `undefined` before the first registration. */
  get offsetMs(): number | undefined {
    return this.#offset.offsetMs;
  }

  get rttMs(): number | undefined {
    return this.#offset.rttMs ?? this.#asked?.roundTripMs;
  }

  /** False when there is no registration now, nor one that is asked for; then nothing was sent. */
  send(message: ToRendezvous): boolean {
    if (this.#sending) this.#messages.send(message);
    return this.#sending !== undefined;
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

  /** Something waits for what this connection carries: it has to answer soon, or another takes its place. */
  check(): void {
    if (!this.#channel) return;
    this.#cancelPing?.();
    const ping = () => this.#ping(FIRST_PINGS_MS.length, Math.max(CHECK_DOUBT_MS, 3 * (this.rttMs ?? 0)));
    const wait = this.#pingedAt + LEAST_PING_MS - this.#clock.now();
    if (wait <= 0) ping();
    else this.#cancelPing = this.#clock.setTimer(ping, wait);
  }

  /** Drops the connection, which may be dead in silence, and opens a new one at once. */
  reconnectNow(): void {
    if (this.#closed) return;
    this.#drop();
    this.#backoff.reset();
    this.#race.begin();
  }

  /** Ends the lease at once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#race.stop();
    this.#channel?.send({ t: 'bye' });
    this.#channel?.close();
    this.#channel = undefined;
    this.#cancelTimers();
  }

  get #sending(): MessageChannel | undefined {
    return this.#channel ?? this.#asked?.channel;
  }

  #register(attempting: Attempting): Promise<Registered> {
    const onAsked = (asked: Asked) => {
      const isFirst = !this.#grant && !this.#hasAsked;
      if (!isFirst || this.#registrant.role !== 'dial' || this.#deployment === undefined) return;
      this.#hasAsked = true;
      this.#asked = asked;
      this.emit('asked');
    };
    return register(this.#options, this.#registrant, this.#deployment, attempting, onAsked);
  }

  #begin({ channel, grant, roundTripMs }: Registered): void {
    // Two may have asked for the registration, and the rendezvous has closed the one that it took first.
    if (this.#channel && !this.#silent && grant.time < this.#grant!.time) return channel.abandon();
    this.#deployment ??= grant.deployment;
    this.#channel?.abandon();
    const anew = this.#asked?.channel !== channel;
    this.#cancelTimers();
    this.#channel = channel;
    this.#asked = undefined;
    this.#grant = grant;
    this.#cancelStood = this.#clock.setTimer(() => this.#backoff.reset(), STOOD_MS);
    this.#offsetIsOld = true;
    if (this.#hasClockJumped(grant)) this.#offset.reset();
    // An offer that leaves at once is not to wait for a ping, nor to name a round trip that nobody has measured.
    if (this.rttMs === undefined) {
      const now = this.#clock.now();
      this.#offset.add(now - roundTripMs, now, grant.time);
    }
    this.#ping(0);
    this.emit('registered', grant, anew);
    channel.run(
      (message) => channel === this.#channel && this.#receive(message),
      (why) => channel === this.#channel && this.#onClosed(why),
    );
  }

  /** Ours stands still while the computer sleeps; the rendezvous's begins anew where that is restarted. */
  #hasClockJumped({ time }: Grant): boolean {
    const { offsetMs } = this.#offset;
    return offsetMs !== undefined && Math.abs(this.#clock.now() + offsetMs - time) > GRANT_MS;
  }

  #onFailure(why: SallyportError, left: number): void {
    if (this.#channel && !this.#silent) return; // it was a second one
    if (left === 0 || this.#isFatal(why)) this.#lose(why);
  }

  /** It may have been closed in favour of one that was begun beside it. */
  #onClosed(why: SallyportError): void {
    if (!this.#race.running) return this.#lose(why);
    this.#channel = undefined;
    this.#cancelTimers();
  }

  #receive(message: ToNode): void {
    switch (message.t) {
      case 'challenge':
      case 'registered':
        break; // out of turn, without meaning
      case 'pong':
        if (this.#offsetIsOld) this.#offset.reset();
        this.#offsetIsOld = false;
        this.#offset.add(message.sent, this.#clock.now(), message.time);
        this.#trust();
        this.#race.relent();
        break;
      case 'relays':
        this.#grant = { ...this.#grant!, relays: relayInfos(message.relays, this.url) };
        this.emit('relays', this.relays);
        break;
      case 'error':
        if (message.session || message.name !== undefined) this.emit('message', message);
        else this.#lose(refusal(message));
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

  #ping(count: number, patienceMs = DOUBT_MS): void {
    const wait = (FIRST_PINGS_MS[count + 1] ?? Infinity) - (FIRST_PINGS_MS[count] ?? 0);
    const now = this.#clock.now();
    this.#pingedAt = now;
    this.#messages.sendNow({ t: 'ping', sent: now });
    this.#cancelSilence ??= this.#clock.setTimer(() => this.#onSilence(), PONG_MS);
    if (this.#doubtAt === undefined || this.#doubtAt > now + patienceMs) {
      this.#doubtAt = now + patienceMs;
      this.#cancelDoubt?.();
      this.#cancelDoubt = this.#clock.setTimer(() => this.#race.begin(), patienceMs);
    }
    this.#cancelPing = this.#clock.setTimer(() => this.#ping(count + 1), Math.min(wait, PING_MS));
  }

  /** The pings were answered. */
  #trust(): void {
    this.#silent = false;
    this.#doubtAt = undefined;
    this.#cancelDoubt?.();
    this.#cancelSilence?.();
    this.#cancelSilence = undefined;
  }

  #onSilence(): void {
    this.#silent = true;
    if (!this.#race.running)
      this.#lose(new SallyportError('RENDEZVOUS_UNREACHABLE', 'the rendezvous fell silent'));
  }

  #lose(why: SallyportError): void {
    this.#drop();
    if (this.#isFatal(why)) {
      this.#failure = why;
      this.#closed = true;
      this.emit('error', why);
      return;
    }
    const wait = Math.max(this.#restartInMs ?? 0, this.#backoff.next());
    this.#restartInMs = undefined;
    this.#cancelRetry = this.#clock.setTimer(() => this.#race.begin(), wait);
    this.emit('down', why);
  }

  /** A proxy that had let us through may want another password for a while. */
  #isFatal({ code }: SallyportError): boolean {
    return FATAL.includes(code) && (code !== 'NOT_AUTHORIZED' || this.#grant === undefined);
  }

  #drop(): void {
    this.#race.stop();
    this.#channel?.abandon();
    this.#channel = undefined;
    this.#asked = undefined;
    this.#cancelTimers();
  }

  #cancelTimers(): void {
    this.#cancelRetry?.();
    this.#cancelStood?.();
    this.#cancelPing?.();
    this.#messages.clear();
    this.#trust();
  }
}

export interface WaitOptions {
  readonly firstAttemptOnly?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}
