import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { Backoff } from '../core/backoff.ts';
import { SallyportError, asSallyportError } from '../core/errors.ts';
import type { Identity } from '../core/identity.ts';
import { signOpening } from '../core/protocol/ticket.ts';
import { CIRCUIT_KINDS, type CircuitKind } from '../core/session/events.ts';
import { StandingLeg } from './circuit-h1.ts';
import { Http2Link } from './circuit-h2.ts';
import { openWebSocketCircuit } from './circuit-ws.ts';
import { Http2Leg, type Leg } from './circuit.ts';
import { systemClock, type Clock } from './clock.ts';
import { connectOrigin, type Origin, type OriginSocket } from './origin.ts';
import { WarmConnection } from './warm-connection.ts';

export interface RelayLinkOptions extends Origin {
  readonly clock?: Clock | undefined;
}

/** What opens a leg, and as whom. */
interface Claim {
  readonly ticket: Uint8Array;
  readonly identity: Identity;
  readonly greeting: Uint8Array;
}

export interface LegOptions {
  /** The first of these that gets through is taken; any by default. */
  readonly kinds?: readonly CircuitKind[] | undefined;
  /** The circuit's first bytes from this end, which leave with the opening. */
  readonly greeting?: Uint8Array | undefined;
}

const NOTHING = new Uint8Array();
const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 5_000;
/** Whoever offers a relay may name any host, and all peers dial it: where none was ever reached, they come to do so seldom. */
const STRANGE_RETRY_MAX_MS = 300_000;
/** One that is lost sooner is no reason to be quick again: it may be the relay, or what is on the way, that cuts off each. */
const STOOD_MS = 10_000;
const REPLACE_MS = 15;
/** What didn't get through may have met the network's mood rather than a middlebox. */
const MEMORY_MS = 600_000;
/** Where nothing can be kept warm, it may have been the relay that was silent for a moment: the first look again. */
const LOOK_AGAIN_MS = 30_000;

/**
 * The way to one relay. Of the kinds of leg, the first that gets through is kept warm, so that opening one needs no
 * dialling: a standing HTTP/1.1 connection, which each leg takes and another replaces; else one HTTP/2 connection, which
 * all share; else a WebSocket is made for each. What doesn't get through is remembered until the network changes.
 */
export class RelayLink {
  readonly #options: RelayLinkOptions;
  readonly #url: URL;
  readonly #clock: Clock;
  #backoff = new Backoff(RETRY_MIN_MS, STRANGE_RETRY_MAX_MS, Math.random);
  #isStrange = true;
  readonly #lookAgain = new Backoff(LOOK_AGAIN_MS, STRANGE_RETRY_MAX_MS, Math.random);
  readonly #standing = new WarmConnection(
    () => this.#dialStanding(),
    () => this.#lost(),
  );
  readonly #http2 = new WarmConnection(
    () => this.#dialHttp2(),
    () => this.#lost(),
  );
  /** Opened, and carried by a connection of their own. */
  readonly #legs = new Set<Duplex>();
  /** Until when a kind isn't tried again. */
  readonly #blockedUntil = new Map<CircuitKind, number>();
  /** Another one for each network that this host was in: what was begun in an earlier one is worth nothing. */
  #network = Symbol('network');
  #wanted = false;
  #cancelRetry: (() => void) | undefined;
  #cancelStood: (() => void) | undefined;

  constructor(options: RelayLinkOptions) {
    this.#options = options;
    this.#url = new URL(options.url);
    this.#clock = options.clock ?? systemClock;
  }

  get url(): string {
    return this.#options.url;
  }

  /** Connects, and from here on stays connected. @throws SallyportError `RELAY_UNREACHABLE` */
  async warm(): Promise<void> {
    this.#wanted = true;
    const network = this.#network;
    try {
      const standing = this.#passes('relay-h1') && (await this.#standing.get());
      if (network !== this.#network) return; // warmed anew, or closed
      const http2 = !standing && this.#passes('relay-h2') && (await this.#http2.get());
      if (network !== this.#network) return;
      if (standing || http2) this.#reached();
      else this.#retryIn(this.#lookAgain.next(), () => this.#blockedUntil.clear());
    } catch (thrown) {
      this.#lost();
      throw thrown;
    }
  }

  /**
   * Opens one leg of the circuit that `ticket` names. It can be written to at once; a leg over HTTP/2 may still be
   * refused, and is destroyed with the error then.
   * @throws SallyportError `TICKET_INVALID`, `TICKET_EXPIRED`, `LIMIT`, `RATE_LIMITED`, `RELAY_UNREACHABLE`
   */
  async open(
    ticket: Uint8Array,
    identity: Identity,
    { kinds = CIRCUIT_KINDS, greeting = NOTHING }: LegOptions = {},
  ): Promise<Leg> {
    const claim = { ticket, identity, greeting };
    const network = this.#network;
    const leg =
      (await this.#try('relay-h1', kinds, () => this.#openStanding(claim))) ??
      (await this.#try('relay-h2', kinds, () => this.#openStream(claim))) ??
      (await this.#try('relay-ws', kinds, () => this.#openWebSocket(claim)));
    if (leg && network === this.#network) return leg;
    leg?.pipe.destroy();
    const why = leg
      ? 'the network has changed meanwhile'
      : `no circuit by ${kinds.join(' or ')} gets through`;
    throw new SallyportError('RELAY_UNREACHABLE', why);
  }

  /** The network has changed: connections may be dead in silence, and what was blocked may pass. Circuits end. */
  reset(): void {
    this.#disconnect();
    this.#blockedUntil.clear();
    this.#backoff.reset();
    this.#lookAgain.reset();
    if (this.#wanted) this.#lost();
  }

  close(): void {
    this.#wanted = false;
    this.#cancelRetry?.();
    this.#cancelStood?.();
    this.#disconnect();
  }

  #disconnect(): void {
    this.#network = Symbol('network');
    this.#standing.close();
    this.#http2.close();
    for (const leg of this.#legs) leg.destroy();
  }

  #reached(): void {
    if (this.#isStrange) this.#backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, Math.random);
    this.#isStrange = false;
    this.#cancelStood ??= this.#clock.setTimer(() => {
      this.#backoff.reset();
      this.#lookAgain.reset();
    }, STOOD_MS);
  }

  #lost(): void {
    this.#cancelStood?.();
    this.#cancelStood = undefined;
    this.#retryIn(this.#backoff.next());
  }

  /** A little later, so that the next one's dialling doesn't delay what this one was opened for; who needs it sooner dials it. */
  #replaceStanding(): void {
    this.#retryIn(REPLACE_MS);
  }

  #retryIn(ms: number, before = (): void => {}): void {
    this.#cancelRetry?.();
    if (!this.#wanted) return;
    this.#cancelRetry = this.#clock.setTimer(() => {
      before();
      this.#warmAgain();
    }, ms);
  }

  #warmAgain(): void {
    this.warm().catch(() => undefined);
  }

  #passes(kind: CircuitKind): boolean {
    return this.#clock.now() >= (this.#blockedUntil.get(kind) ?? -Infinity);
  }

  /** @param open resolves with nothing where that kind doesn't get through */
  async #try(
    kind: CircuitKind,
    kinds: readonly CircuitKind[],
    open: () => Promise<Duplex | undefined>,
  ): Promise<Leg | undefined> {
    if (!kinds.includes(kind) || !this.#passes(kind)) return undefined;
    const pipe = await open();
    return pipe && { kind, pipe };
  }

  async #openStanding(claim: Claim): Promise<Duplex | undefined> {
    for (let again = true; ; again = false) {
      const standing = await this.#standing.take();
      if (!standing) return undefined;
      try {
        const leg = await standing.open(opening(claim, standing.exporter), claim.greeting);
        if (leg) return this.#own(leg);
        if (!again || !standing.proven)
          throw new SallyportError('RELAY_UNREACHABLE', 'the relay did not open the circuit');
      } catch (thrown) {
        if (standing.proven) throw thrown;
        return undefined;
      } finally {
        this.#replaceStanding();
      }
    }
  }

  async #openStream(claim: Claim): Promise<Duplex | undefined> {
    const link = await this.#http2.get();
    if (!link) return undefined;
    try {
      const refused = (error: SallyportError) => leg.destroy(error);
      const leg: Http2Leg = new Http2Leg(link.open(opening(claim, link.exporter), refused), link.gate);
      return greet(leg, claim);
    } catch (thrown) {
      throw asSallyportError(thrown, 'RELAY_UNREACHABLE');
    }
  }

  async #openWebSocket(claim: Claim): Promise<Duplex> {
    const { socket, exporter } = await this.#connect(['http/1.1']);
    try {
      const leg = await openWebSocketCircuit(socket, this.#url, opening(claim, exporter));
      return this.#own(greet(leg, claim));
    } catch (thrown) {
      // Where nothing at all gets through, it is the relay that is silent.
      if (asSallyportError(thrown).code === 'RELAY_UNREACHABLE') this.#blockedUntil.clear();
      throw thrown;
    }
  }

  #own(leg: Duplex): Duplex {
    this.#legs.add(leg);
    leg.once('close', () => this.#legs.delete(leg));
    return leg;
  }

  async #dialStanding(): Promise<StandingLeg | undefined> {
    const network = this.#network;
    const origin = await this.#connect(['http/1.1']);
    const standing = await StandingLeg.open(origin, this.#url, this.#clock);
    if (!standing) this.#block('relay-h1', network);
    standing?.onClose(() => {
      if (!standing.proven) this.#block('relay-h1', network);
    });
    return standing;
  }

  async #dialHttp2(): Promise<Http2Link | undefined> {
    const network = this.#network;
    const origin = await this.#connect(['h2', 'http/1.1']);
    const isHttp2 = this.#url.protocol !== 'https:' || origin.protocol === 'h2';
    if (!isHttp2) origin.socket.destroy();
    const link = isHttp2 ? await Http2Link.open(origin, this.#url, this.#clock) : undefined;
    if (!link) this.#block('relay-h2', network);
    return link;
  }

  /** A relay that is away has cut off whatever was tried: that says nothing about what gets through. */
  async #connect(alpn: readonly string[]): Promise<OriginSocket> {
    try {
      return await connectOrigin(this.#options, alpn, 'RELAY_UNREACHABLE');
    } catch (thrown) {
      this.#blockedUntil.clear();
      throw thrown;
    }
  }

  #block(kind: CircuitKind, network: symbol): void {
    if (network === this.#network) this.#blockedUntil.set(kind, this.#clock.now() + MEMORY_MS);
  }
}

function greet<Pipe extends Duplex>(leg: Pipe, { greeting }: Claim): Pipe {
  if (greeting.length > 0) leg.write(greeting);
  return leg;
}

function opening({ ticket, identity }: Claim, exporter: Uint8Array): string {
  return signOpening(identity, ticket, new Uint8Array(randomBytes(16)), exporter);
}
