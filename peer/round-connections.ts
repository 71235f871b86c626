import { connect, type Socket } from 'node:net';
import type { Family } from '../src/core/address.ts';
import { equalBytes } from '../src/core/bytes.ts';
import { familyOf, type Endpoint } from '../src/core/endpoint.ts';
import type { Candidate } from '../src/core/punch/candidate.ts';
import type { ConnectionId, LocalPort, PunchInput } from '../src/core/punch/events.ts';
import type { SessionKeys } from '../src/core/session/keys.ts';
import type { SessionRole } from '../src/core/session/role.ts';
import { forsake } from '../src/net/reset.ts';
import { WILDCARD } from '../src/net/wildcard.ts';
import { openFreshTcpPort } from './fresh-tcp-port.ts';
import type { Network } from './network.ts';
import type { TaggedConnection } from './tagged-connections.ts';
import type { TraceLine } from './trace.ts';

export interface RoundConnectionsOptions {
  readonly role: SessionRole;
  readonly keys: SessionKeys;
  readonly network: Network;
  /** Told of what became of each. */
  readonly handle: (input: PunchInput) => void;
  /** Tells the peer of a port that this round dials from instead of the held one. */
  readonly tellPort: (candidate: Candidate) => void;
  readonly onTrace: (line: TraceLine) => void;
}

export const DIAL_TIMEOUT_MS = 10_000;

/**
 * The TCP connections of one round that are no path yet: dials from the ports that the agent names, and what comes in
 * with the session's tag.
 */
export class RoundConnections {
  readonly #options: RoundConnectionsOptions;
  readonly #sockets = new Map<ConnectionId, Socket>();
  /** Has what becomes of one no longer told here: a path lasts longer than the round that found it. */
  readonly #forget = new Map<ConnectionId, () => void>();
  /** Local ports that the agent gave a name. */
  readonly #ports = new Map<LocalPort, number>();
  /** The tags that incoming connections began with. */
  readonly #tags = new Map<ConnectionId, Uint8Array>();
  #accepted = 0;
  /** In place of the held port over IPv4, where that leads to this peer already. */
  #freshPort: number | undefined;
  #asksFreshPort = false;
  readonly #ended = new AbortController();
  readonly #release: (() => void)[] = [];

  constructor(options: RoundConnectionsOptions) {
    this.#options = options;
    const { tagIn } = options.keys.path('tcp', options.role);
    this.#release.push(options.network.accept(tagIn, (connection) => this.#onAccepted(connection, tagIn)));
  }

  get(connection: ConnectionId): Socket | undefined {
    return this.#sockets.get(connection);
  }

  /** What it has brought already, where it came in. */
  tagOf(connection: ConnectionId): Uint8Array | undefined {
    return this.#tags.get(connection);
  }

  /** It is somebody else's from here on. False where it was none of these any more. */
  letGo(connection: ConnectionId): boolean {
    this.#forget.get(connection)?.();
    this.#forget.delete(connection);
    return this.#sockets.delete(connection);
  }

  drop(connection: ConnectionId): void {
    const socket = this.#sockets.get(connection);
    this.#sockets.delete(connection);
    if (socket) forsake(socket);
  }

  /** What was let go stays. */
  stop(): void {
    this.#ended.abort();
    for (const release of this.#release) release();
    for (const socket of this.#sockets.values()) forsake(socket);
  }

  dial(connection: ConnectionId, to: Endpoint, from: LocalPort): void {
    const { handle } = this.#options;
    const family = familyOf(to);
    const localPort = from === 'held' ? this.#heldPortOf(family) : (this.#ports.get(from) ?? 0);
    if (localPort === undefined) return handle({ type: 'dial-failed', connection, code: 'EADDRNOTAVAIL' });
    const binding = from === 'any' ? {} : { localAddress: WILDCARD[family], localPort };
    const options = { host: to.address, port: to.port, allowHalfOpen: true, noDelay: true, ...binding };
    const socket = connect(options);
    if (localPort === 0 && from !== 'any') this.#rememberPort(from, socket);
    this.#sockets.set(connection, socket);
    socket.setTimeout(DIAL_TIMEOUT_MS, timedOut);
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (!this.#sockets.delete(connection)) return;
      if (from === 'held' && family === 4 && error.code === 'EADDRNOTAVAIL') this.#leaveHeldPort();
      handle({ type: 'dial-failed', connection, code: error.code ?? 'EUNKNOWN' });
    });
    socket.once('connect', () => {
      socket.setTimeout(0, timedOut);
      socket.removeAllListeners('error');
      this.#onConnected(connection, socket, (local, remote) => ({
        type: 'dialed',
        connection,
        local,
        remote,
      }));
    });
  }

  #heldPortOf(family: Family): number | undefined {
    const fresh = family === 4 ? this.#freshPort : undefined;
    return fresh ?? this.#options.network.heldPortOf(family);
  }

  /**
   * A path of another session has this very pair of ports (PROTOCOL §6). One end has to dial from another, and the peer
   * to that: the initiator, since it would lead nowhere if both did.
   */
  #leaveHeldPort(): void {
    const { role, network, onTrace, tellPort } = this.#options;
    if (role !== 'initiator' || this.#asksFreshPort) return;
    this.#asksFreshPort = true;
    void openFreshTcpPort(network.stun, this.#ended.signal).then((fresh) => {
      if (!fresh) return;
      this.#release.push(() => fresh.close());
      if (this.#ended.signal.aborted) return fresh.close();
      this.#freshPort = fresh.port;
      const text = 'another session with this peer has the held port; this one dials from a port of its own';
      onTrace({ transport: 'tcp', stage: 'plan', text });
      tellPort(fresh.candidate);
    });
  }

  /** Node binds the socket in the next tick; its port is asked for in the one after that. */
  #rememberPort(name: LocalPort, socket: Socket): void {
    process.nextTick(() => {
      if (socket.localPort !== undefined) this.#ports.set(name, socket.localPort);
    });
  }

  #onAccepted({ socket, tag, held }: TaggedConnection, expected: Uint8Array): void {
    if (!equalBytes(tag, expected)) return void socket.destroy();
    const connection = `accepted-${this.#accepted++}`;
    this.#tags.set(connection, tag);
    this.#sockets.set(connection, socket);
    this.#onConnected(connection, socket, (local, remote) => ({
      type: 'accepted',
      connection,
      local,
      remote,
      held,
    }));
  }

  #onConnected(
    connection: ConnectionId,
    socket: Socket,
    input: (local: Endpoint, remote: Endpoint) => PunchInput,
  ): void {
    const { localAddress, localPort, remoteAddress, remotePort } = socket;
    if (
      localAddress === undefined ||
      localPort === undefined ||
      remoteAddress === undefined ||
      remotePort === undefined
    ) {
      return this.drop(connection);
    }
    const { handle } = this.#options;
    const closed = (): void => {
      if (this.#sockets.delete(connection)) handle({ type: 'broken', connection });
    };
    socket.on('error', failed).once('close', closed);
    this.#forget.set(connection, () => socket.off('close', closed));
    handle(input({ address: localAddress, port: localPort }, { address: remoteAddress, port: remotePort }));
  }
}

function timedOut(this: Socket): void {
  this.destroy(Object.assign(new Error(), { code: 'ETIMEDOUT' }));
}

function failed(this: Socket): void {
  this.destroy();
}
