import { randomBytes } from 'node:crypto';
import { Backoff } from '../core/backoff.ts';
import { SallyportError, asSallyportError } from '../core/errors.ts';
import type { Identity } from '../core/identity.ts';
import { signOpening } from '../core/protocol/ticket.ts';
import { Http2Link } from './circuit-h2.ts';
import { openWebSocketCircuit } from './circuit-ws.ts';
import { Circuit } from './circuit.ts';
import { systemClock, type Clock } from './clock.ts';
import { exporterOf } from './knock.ts';
import { connectOrigin, type Origin } from './origin.ts';

export interface RelayLinkOptions extends Origin {
  readonly clock?: Clock | undefined;
}

const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 5_000;
/** A failed HTTP/2 may have been the network's mood rather than a middlebox. */
const WEB_SOCKET_MEMORY_MS = 600_000;

/**
 * The way to one relay. Keeps an HTTP/2 connection warm, so that a circuit's first bytes travel with its request;
 * where HTTP/2 can't be had (a middlebox, an old server) it remembers that and opens a WebSocket for each circuit.
 */
export class RelayLink {
  readonly #options: RelayLinkOptions;
  readonly #url: URL;
  readonly #clock: Clock;
  readonly #backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, Math.random);
  #connecting: Promise<Http2Link | undefined> | undefined;
  #link: Http2Link | undefined;
  /** Until when HTTP/2 isn't tried again. */
  #webSocketUntil = -Infinity;
  #wanted = false;
  #cancelRetry: (() => void) | undefined;

  constructor(options: RelayLinkOptions) {
    this.#options = options;
    this.#url = new URL(options.url);
    this.#clock = options.clock ?? systemClock;
  }

  get url(): string {
    return this.#options.url;
  }

  get #webSocketOnly(): boolean {
    return this.#clock.now() < this.#webSocketUntil;
  }

  /** Connects, and from here on stays connected. @throws SallyportError `RELAY_UNREACHABLE` */
  async warm(): Promise<void> {
    this.#wanted = true;
    await this.#carrier();
  }

  /**
   * Opens one leg of the circuit that `ticket` names. The circuit can be written to at once; a failure destroys it
   * with a typed error.
   */
  open(ticket: Uint8Array, identity: Identity): Circuit {
    const circuit = new Circuit(this.#webSocketOnly ? 'relay-ws' : 'relay-h2');
    if (this.#link?.usable) this.#openStream(this.#link, circuit, ticket, identity);
    else void this.#openLater(circuit, ticket, identity);
    return circuit;
  }

  /** The network has changed: the old connection may be dead in silence, and HTTP/2 may pass again. Circuits end. */
  reset(): void {
    this.#webSocketUntil = -Infinity;
    this.#connecting = undefined;
    const old = this.#link;
    this.#link = undefined;
    old?.close();
    if (this.#wanted) this.#warmAgain();
  }

  close(): void {
    this.#wanted = false;
    this.#cancelRetry?.();
    this.#connecting = undefined;
    this.#link?.close();
  }

  /** The warm connection, made if need be; `undefined` where circuits go over WebSockets. */
  async #carrier(): Promise<Http2Link | undefined> {
    if (this.#link?.usable) return this.#link;
    if (this.#webSocketOnly) return undefined;
    const connecting = (this.#connecting ??= this.#connect());
    try {
      const link = await connecting;
      if (this.#connecting === connecting) this.#keep(link);
      return link;
    } finally {
      if (this.#connecting === connecting) this.#connecting = undefined;
    }
  }

  async #connect(): Promise<Http2Link | undefined> {
    const { socket, protocol } = await connectOrigin(this.#options, ['h2', 'http/1.1'], 'RELAY_UNREACHABLE');
    if (this.#url.protocol === 'https:' && protocol !== 'h2') {
      socket.destroy();
      return undefined;
    }
    return Http2Link.open(socket, this.#url, this.#clock);
  }

  #keep(link: Http2Link | undefined): void {
    this.#backoff.reset();
    this.#link = link;
    if (!link) this.#webSocketUntil = this.#clock.now() + WEB_SOCKET_MEMORY_MS;
    link?.onClose(() => {
      if (this.#link !== link) return;
      this.#link = undefined;
      if (this.#wanted) this.#warmAgain();
    });
  }

  #warmAgain(): void {
    this.#cancelRetry?.();
    this.#cancelRetry = this.#clock.setTimer(() => {
      if (!this.#wanted) return;
      this.#carrier().catch(() => this.#warmAgain());
    }, this.#backoff.next());
  }

  async #openLater(circuit: Circuit, ticket: Uint8Array, identity: Identity): Promise<void> {
    try {
      const link = await this.#carrier();
      if (link) this.#openStream(link, circuit, ticket, identity);
      else circuit.attach(await this.#openWebSocket(ticket, identity), 'relay-ws');
    } catch (thrown) {
      circuit.destroy(asSallyportError(thrown, 'RELAY_UNREACHABLE'));
    }
  }

  #openStream(link: Http2Link, circuit: Circuit, ticket: Uint8Array, identity: Identity): void {
    try {
      const opening = signOpening(identity, ticket, freshRandom(), link.exporter);
      const refused = (error: SallyportError) => circuit.destroy(error);
      circuit.attach(link.open(opening, refused), 'relay-h2', link.gate);
    } catch (thrown) {
      circuit.destroy(asSallyportError(thrown, 'RELAY_UNREACHABLE'));
    }
  }

  async #openWebSocket(ticket: Uint8Array, identity: Identity) {
    const { socket } = await connectOrigin(this.#options, ['http/1.1'], 'RELAY_UNREACHABLE');
    const opening = signOpening(identity, ticket, freshRandom(), exporterOf(socket));
    return openWebSocketCircuit(socket, this.#url, opening);
  }
}

function freshRandom(): Uint8Array {
  return new Uint8Array(randomBytes(16));
}
