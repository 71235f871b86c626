import type { Family } from '../address.ts';
import { familyOf, type Endpoint } from '../endpoint.ts';
import { earliest, type Instant } from '../machine.ts';
import type { ConnectionId, RemoteCandidate } from './events.ts';
import type { PortProbes } from './port-probes.ts';
import type { HeldPortUse } from './held-port.ts';
import { NO_ADDRESS } from './obstacle.ts';
import { TcpOpening, type TcpOpeningOptions } from './tcp-open.ts';

/**
 * One TCP opening for each family, side by side: each has a held port of its own, and a plan of its own. The first
 * connection that is secured ends both.
 */
export class TcpOpenings implements PortProbes {
  readonly #of: Readonly<Record<Family, TcpOpening>>;
  /** Which family's a connection is. */
  readonly #families = new Map<ConnectionId, Family>();

  constructor(options: Omit<TcpOpeningOptions, 'family'>) {
    const open = (family: Family) =>
      new TcpOpening({
        ...options,
        family,
        emit: (output) => {
          if (output.type === 'dial') this.#families.set(output.connection, family);
          options.emit(output);
        },
      });
    this.#of = { 4: open(4), 6: open(6) };
  }

  get secured(): boolean {
    return this.#all.some(({ secured }) => secured);
  }

  /** Secured, or out of time with nothing left that could be. */
  get finished(): boolean {
    return this.secured || this.#all.every(({ finished }) => finished);
  }

  get dialed(): number {
    return this.#all.reduce((sum, { dialed }) => sum + dialed, 0);
  }

  get isSettled(): boolean {
    return this.#of[4].isSettled;
  }

  get contactAt(): Instant | undefined {
    return this.#of[6].contactAt ?? this.#of[4].contactAt;
  }

  get deadline(): Instant | undefined {
    return earliest(...this.#all.map(({ deadline }) => deadline));
  }

  describe(): string {
    if (this.#all.every(({ hasTargets }) => !hasTargets)) return NO_ADDRESS;
    const over6 = this.#of[6].dialed > 0 ? `; over IPv6 ${this.#of[6].describe()}` : '';
    return `${this.#of[4].describe()}${over6}`;
  }

  useHeldPort(family: Family, use: HeldPortUse, now: Instant): void {
    this.#of[family].useHeldPort(use, now);
  }

  add(candidate: RemoteCandidate, now: Instant): void {
    this.#of[familyOf(candidate.endpoint)].add(candidate, now);
  }

  /** Ports are searched over IPv4 alone. */
  spray(socket: number, to: Endpoint, now: Instant): void {
    this.#of[4].spray(socket, to, now);
  }

  start(at: Instant, roundTripMs: number, now: Instant, confirmMs?: number): void {
    for (const opening of this.#all) opening.start(at, roundTripMs, now, confirmMs);
  }

  connected(id: ConnectionId, local: Endpoint, remote: Endpoint, now: Instant): void {
    this.#owner(id).connected(id, local, remote, now);
  }

  failed(id: ConnectionId, code: string, now: Instant): void {
    this.#owner(id).failed(id, code, now);
  }

  accepted(id: ConnectionId, local: Endpoint, remote: Endpoint, held: boolean, now: Instant): void {
    this.#families.set(id, familyOf(remote));
    this.#owner(id).accepted(id, local, remote, held, now);
  }

  /** The search is over: everything but this connection goes. */
  secure(id: ConnectionId): void {
    for (const opening of this.#all) opening.secure(id);
  }

  broken(id: ConnectionId, now: Instant): void {
    this.#owner(id).broken(id, now);
  }

  handleTimeout(now: Instant): void {
    for (const opening of this.#all) opening.handleTimeout(now);
  }

  /** Stops dialling and listening. What is connected stays: its TLS may be under way. */
  end(): void {
    for (const opening of this.#all) opening.end();
  }

  get #all(): readonly TcpOpening[] {
    return [this.#of[4], this.#of[6]];
  }

  #owner(id: ConnectionId): TcpOpening {
    return this.#of[this.#families.get(id) ?? 4];
  }
}
