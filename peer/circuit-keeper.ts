import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { asSallyportError, SallyportError } from '../src/core/errors.ts';
import type { Identity, PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import { peekTicket, type Ticket } from '../src/core/protocol/ticket.ts';
import type { PathKeys, SessionKeys } from '../src/core/session/keys.ts';
import type { SessionRole } from '../src/core/session/role.ts';
import type { CircuitKind } from '../src/core/session/events.ts';
import type { Leg } from '../src/net/circuit.ts';
import type { RelayLink } from '../src/net/relay-link.ts';
import type { Clock } from '../src/net/clock.ts';
import { deferred } from '../src/net/deferred.ts';
import { pause } from '../src/net/pause.ts';
import { forsake } from '../src/net/reset.ts';
import { secure } from '../src/net/secure.ts';
import type { EarlyLeg } from './early-leg.ts';

/** A relay circuit, secured end to end and ready for the session. */
export interface CircuitPath {
  readonly kind: CircuitKind;
  readonly pipe: Duplex;
  /** The relay's URL. */
  readonly remote: string;
}

export interface CircuitOptions {
  readonly identity: Identity;
  readonly role: SessionRole;
  readonly keys: SessionKeys;
  readonly clock: Clock;
  /** Of which kinds its leg may be; all of them by default. */
  readonly circuits?: readonly CircuitKind[] | undefined;
  /** Taken in place of the first that would be dialled. */
  readonly earlyLeg?: EarlyLeg | undefined;
  /** The warm connection to a relay of this deployment. */
  readonly link: (relay: PeerId) => RelayLink | undefined;
  /** Milliseconds by the rendezvous's clock. */
  readonly serverTime: () => number;
  /** Asks the rendezvous for fresh tickets; they come by `take`. */
  readonly renew: () => void;
  readonly onPath: (path: CircuitPath) => void;
  readonly onFailure: (error: SallyportError) => void;
}

interface HeldTicket {
  readonly bytes: Uint8Array;
  readonly fields: Ticket;
}

/** The other leg may come this much later than ours: it may have noticed the loss later. */
const PARTNER_TIMEOUT_MS = LIMITS.waitingLegMs + 2_000;
/** It may as well wait at another relay: the first time, ours is not there for longer than this, and then for ever longer. */
const MEETING_MS = 4_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5_000;
/** A circuit that ends sooner has the next one wait as if it had not come: what is on the way may cut off each of them. */
const STOOD_MS = 1_000;
/** How long to wait for fresh tickets before asking again, … */
const RENEWAL_PATIENCE_MS = 2_000;
/** … and where the answer was that there are none, as without any relay: a peer may have a thousand sessions that wait for one. */
const NO_RELAY_MS = 15_000;

/**
 * Keeps one circuit between the two peers open for as long as the session lives: the way that always works, and the
 * way back when a direct path fails. Tickets for two relays are held and renewed at half life, so a relay or a
 * rendezvous that dies doesn't stop a re-dial.
 */
export class CircuitKeeper {
  #options: CircuitOptions;
  #tickets: HeldTicket[] = [];
  #earlyLeg: EarlyLeg | undefined;
  #stopped = new AbortController();
  /** Where the last circuit stood. */
  #stoodAt: PeerId | undefined;
  /** Until then one leg is all that an answer may cost (docs/protocol.md, "Introduction"). */
  #confirmed = deferred<void>();
  #renewed: (() => void) | undefined;
  #cancelRenewal: (() => void) | undefined;

  constructor(options: CircuitOptions, tickets: readonly Uint8Array[]) {
    this.#options = options;
    this.#earlyLeg = options.earlyLeg;
    this.take(tickets);
    void this.#keepOpen();
  }

  /** Tickets that came with offer or answer, or fresh ones. None are none for a relay that is away for a moment: those that are held may still do. */
  take(tickets: readonly Uint8Array[]): void {
    if (tickets.length > 0) this.#tickets = tickets.flatMap(heldTicket);
    const usable = this.#freshTickets.length > 0;
    this.#renewIn(usable ? LIMITS.ticketLifetimeMs / 2 : NO_RELAY_MS);
    if (usable) this.#renewed?.();
  }

  /** The peer has proven the session's keys: from here on the circuit is dialled as often as it takes. */
  confirm(): void {
    this.#confirmed.resolve();
  }

  stop(): void {
    this.#stopped.abort();
    this.#confirmed.resolve();
    this.#cancelRenewal?.();
    this.#renewed?.();
  }

  #renewIn(ms: number): void {
    this.#cancelRenewal?.();
    this.#cancelRenewal = this.#options.clock.setTimer(() => this.#renew(), ms);
  }

  /** A rendezvous that doesn't answer is asked again. */
  #renew(): void {
    this.#options.renew();
    this.#renewIn(RENEWAL_PATIENCE_MS);
  }

  get #freshTickets(): HeldTicket[] {
    const soon = this.#options.serverTime() + 1_000;
    return this.#tickets.filter(({ fields }) => fields.expires > soon);
  }

  async #keepOpen(): Promise<void> {
    let failures = 0;
    let brief = 0;
    while (!this.#stopped.signal.aborted) {
      try {
        const pipe = await this.#dial(failures);
        failures = 0;
        const since = this.#options.clock.now();
        if (!pipe.closed) await once(pipe, 'close', { signal: this.#stopped.signal }).catch(() => {});
        brief = this.#options.clock.now() - since < STOOD_MS ? brief + 1 : 0;
      } catch (thrown) {
        failures++;
        if (!this.#stopped.signal.aborted)
          this.#options.onFailure(asSallyportError(thrown, 'RELAY_UNREACHABLE'));
      }
      await this.#confirmed.promise;
      await this.#pause(Math.max(failures, brief));
    }
  }

  async #dial(attempt: number): Promise<TLSSocket> {
    const { bytes, fields } = await this.#freshTicket(attempt);
    const { role, link, onPath } = this.#options;
    const relay = link(fields.relay);
    if (!relay)
      throw new SallyportError('RELAY_UNREACHABLE', 'the ticket is for a relay that is not known here');
    const keys = this.#options.keys.path('relay', role);
    const early = await this.#takeEarlyLeg();
    const leg = early ?? (await this.#openLeg(relay, bytes, keys.tagOut));
    const pipe = await this.#secure(leg.pipe, keys, early === undefined, this.#patience(attempt));
    this.#stoodAt = fields.relay;
    onPath({ kind: leg.kind, pipe, remote: relay.url });
    return pipe;
  }

  /** Two that wait for one another at two relays must not both leave at once. */
  #patience(attempt: number): number {
    const isFirst = this.#stoodAt === undefined && this.#options.keys.epoch === 0;
    if (isFirst || this.#freshTickets.length < 2) return PARTNER_TIMEOUT_MS;
    return Math.min(PARTNER_TIMEOUT_MS, MEETING_MS * (attempt + 1) * (0.25 + 0.75 * Math.random()));
  }

  async #secure(leg: Duplex, keys: PathKeys, tagSent: boolean, timeoutMs: number): Promise<TLSSocket> {
    const { signal } = this.#stopped;
    const role = this.#options.role === 'initiator' ? 'client' : 'server';
    // As for an early leg that isn't wanted: at a mere end the relay would keep its place for as long as a leg may wait.
    const abandon = () => forsake(leg);
    signal.addEventListener('abort', abandon);
    if (signal.aborted) abandon();
    try {
      return await secure(leg, { role, keys, tagSent, signal, timeoutMs });
    } catch (thrown) {
      // What the relay said of the ticket explains more than a pipe that closed.
      throw leg.errored ?? thrown;
    } finally {
      signal.removeEventListener('abort', abandon);
    }
  }

  async #takeEarlyLeg(): Promise<Leg | undefined> {
    const early = this.#earlyLeg;
    this.#earlyLeg = undefined;
    return early?.claim();
  }

  #openLeg(relay: RelayLink, ticket: Uint8Array, greeting: Uint8Array): Promise<Leg> {
    const { identity, circuits: kinds } = this.#options;
    return relay.open(ticket, identity, { kinds, greeting });
  }

  /**
   * The relays are taken in turn, and each handshake begins with another; both ends hold the same list. A circuit is dialled
   * anew where it stood: the peer may not have noticed that it is lost, and holds on to its leg until another takes ours.
   */
  async #freshTicket(attempt: number): Promise<HeldTicket> {
    // A stranger's offer that came without any is worth no question either.
    if (this.#freshTickets.length === 0) await this.#confirmed.promise;
    this.#stopped.signal.throwIfAborted();
    if (this.#freshTickets.length === 0) this.#renew();
    while (this.#freshTickets.length === 0) {
      await new Promise<void>((resolve) => (this.#renewed = resolve));
      this.#stopped.signal.throwIfAborted();
    }
    const tickets = this.#freshTickets;
    const before = tickets.findIndex(({ fields }) => fields.relay === this.#stoodAt);
    const first = before < 0 ? this.#options.keys.epoch : before;
    return tickets[(first + attempt) % tickets.length]!;
  }

  async #pause(failures: number): Promise<void> {
    const ms = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures);
    await pause(this.#options.clock, ms * (0.5 + Math.random() / 2), this.#stopped.signal);
  }
}

/** One that can't be read is no use, whoever made it. */
function heldTicket(bytes: Uint8Array): HeldTicket[] {
  try {
    return [{ bytes, fields: peekTicket(bytes) }];
  } catch {
    return [];
  }
}
