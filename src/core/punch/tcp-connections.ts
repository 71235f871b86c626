import type { Endpoint } from '../endpoint.ts';
import type { Instant } from '../machine.ts';
import type { SessionRole } from '../session/role.ts';
import type { ConnectionId } from './events.ts';
import type { Technique } from './stage.ts';

/** Connections that may wait for their TLS at a time. */
const UNSECURED_CONNECTIONS = 8;

export interface TcpConnection {
  readonly id: ConnectionId;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly technique: Technique;
}

export interface TcpConnectionsOptions {
  readonly role: SessionRole;
  /** TLS may begin on it. */
  readonly onOffered: (connection: TcpConnection, now: Instant) => void;
  readonly onSpare: (id: ConnectionId) => void;
}

/**
 * Several dials may connect, and one connection is enough. The initiator chooses, by beginning TLS: it offers one
 * after the other, the next when one has broken. The responder can't know which that will be, and offers them all.
 * The first that TLS has secured is the one; the others go.
 */
export class TcpConnections {
  readonly #options: TcpConnectionsOptions;
  /** Oldest first. */
  #waiting: TcpConnection[] = [];
  #secured = false;

  constructor(options: TcpConnectionsOptions) {
    this.#options = options;
  }

  get secured(): boolean {
    return this.#secured;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** False where no more may wait: it is spare then. */
  add(connection: TcpConnection, now: Instant): boolean {
    if (this.#secured || this.#waiting.length >= UNSECURED_CONNECTIONS) {
      this.#options.onSpare(connection.id);
      return false;
    }
    this.#waiting.push(connection);
    if (this.#options.role === 'responder' || this.#waiting.length === 1) {
      this.#options.onOffered(connection, now);
    }
    return true;
  }

  /** @returns the connection, where it was one that waited */
  secure(id: ConnectionId): TcpConnection | undefined {
    this.#secured = true;
    for (const other of this.#waiting) if (other.id !== id) this.#options.onSpare(other.id);
    return this.#waiting.find((connection) => connection.id === id);
  }

  /** TLS failed on it. @returns the connection, where it was one that waited */
  broken(id: ConnectionId, now: Instant): TcpConnection | undefined {
    const broken = this.#waiting.find((connection) => connection.id === id);
    if (!broken || this.#secured) return undefined;
    const wasFirst = broken === this.#waiting[0];
    this.#waiting = this.#waiting.filter((connection) => connection !== broken);
    const next = this.#waiting[0];
    if (this.#options.role === 'initiator' && wasFirst && next) this.#options.onOffered(next, now);
    return broken;
  }
}
