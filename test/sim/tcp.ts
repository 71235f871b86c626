import assert from 'node:assert';
import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Host } from './host.ts';
import { isBareSyn, resetFor, type TcpPacket } from './packet.ts';
import { TcpConnection, type TcpErrorCode } from './tcp-connection.ts';

export interface ConnectOptions {
  readonly remote: Endpoint;
  /**
   * Binds before connecting, as Node does for `localPort` or `localAddress`; 0 takes an ephemeral port. Only a port
   * that was bound this way can be used by a second connection or a listener (SO_REUSEADDR).
   */
  readonly localPort?: number;
  readonly localAddress?: string;
}

/** A listening socket. */
export interface TcpListener {
  readonly port: number;
  readonly address: string | undefined;
  onConnection: ((connection: TcpConnection) => void) | undefined;
  close(): void;
}

/** One host's TCP: demultiplexing, and Linux's and Node's rules on who may share a local port. */
export class TcpStack {
  readonly #host: Host;
  readonly #connections = new Map<Endpoint, Map<Endpoint, TcpConnection>>();
  /** Connections that hold each local port, live or not. */
  readonly #byPort = new Map<number, Set<TcpConnection>>();
  readonly #listeners: TcpListener[] = [];

  constructor(host: Host) {
    this.#host = host;
  }

  /** Dials; the outcome comes as `onConnect` or `onError`, never before this call has returned. */
  connect(options: ConnectOptions): TcpConnection {
    const bound = options.localPort !== undefined || options.localAddress !== undefined;
    const port = options.localPort || this.#host.ephemeralPort((candidate) => this.#byPort.has(candidate));
    const remote = this.#host.fabric.endpoints.intern(options.remote);
    const address = options.localAddress ?? this.#host.sourceAddressFor(remote);
    const local = this.#host.fabric.endpoints.at(address ?? '0.0.0.0', port);
    const refusal = address === undefined ? 'ENETUNREACH' : this.#refusal(local, remote, bound);
    const connection = new TcpConnection(this.#host, local, remote, bound);
    if (refusal === undefined) {
      this.#register(connection);
      connection.open();
    } else {
      connection.fail(refusal);
    }
    return connection;
  }

  /** Accepts connections; 0 takes an ephemeral port. Throws EADDRINUSE as an AssertionError. */
  listen(port = 0, address?: string): TcpListener {
    const bound = port || this.#host.ephemeralPort((candidate) => this.#byPort.has(candidate));
    assert(
      this.#listener(bound, address) === undefined && !this.#heldExclusively(bound),
      `EADDRINUSE: tcp port ${bound} on ${this.#host.name}`,
    );
    const listener: TcpListener = {
      port: bound,
      address,
      onConnection: undefined,
      close: () => {
        const index = this.#listeners.indexOf(listener);
        if (index >= 0) this.#listeners.splice(index, 1);
      },
    };
    this.#listeners.push(listener);
    return listener;
  }

  receive(packet: TcpPacket): void {
    const connection = this.#connections.get(packet.destination)?.get(packet.source);
    if (connection !== undefined) return connection.receive(packet);
    const listener = this.#listener(packet.destination.port, packet.destination.address);
    if (listener !== undefined && isBareSyn(packet)) return this.#accept(listener, packet);
    const reset = resetFor(packet, this.#host.name);
    if (reset !== undefined) this.#host.send(reset);
  }

  #accept(listener: TcpListener, packet: TcpPacket): void {
    const connection = new TcpConnection(this.#host, packet.destination, packet.source, true);
    this.#register(connection);
    connection.accept(packet, () => listener.onConnection?.(connection));
  }

  #refusal(local: Endpoint, remote: Endpoint, bound: boolean): TcpErrorCode | undefined {
    if (bound && this.#listener(local.port, local.address)) return 'EADDRINUSE';
    if (bound && this.#heldExclusively(local.port)) return 'EADDRINUSE';
    const existing = this.#connections.get(local)?.get(remote);
    if (existing !== undefined && !existing.lingering) return 'EADDRNOTAVAIL';
    existing?.forget();
    return undefined;
  }

  /** True where a connection that never bound explicitly holds the port; such a one shares it with no other. */
  #heldExclusively(port: number): boolean {
    const [first] = this.#byPort.get(port) ?? [];
    return first?.bound === false;
  }

  #listener(port: number, address: string | undefined): TcpListener | undefined {
    return this.#listeners.find(
      (listener) =>
        listener.port === port &&
        (listener.address === undefined || address === undefined || listener.address === address),
    );
  }

  #register(connection: TcpConnection): void {
    const { local, remote } = connection;
    let byRemote = this.#connections.get(local);
    if (byRemote === undefined) this.#connections.set(local, (byRemote = new Map<Endpoint, TcpConnection>()));
    byRemote.set(remote, connection);
    let samePort = this.#byPort.get(local.port);
    if (samePort === undefined) this.#byPort.set(local.port, (samePort = new Set<TcpConnection>()));
    samePort.add(connection);
    connection.onForget = () => this.#unregister(connection);
  }

  #unregister({ local, remote }: TcpConnection): void {
    const byRemote = this.#connections.get(local);
    const connection = byRemote?.get(remote);
    if (byRemote === undefined || connection === undefined) return;
    byRemote.delete(remote);
    if (byRemote.size === 0) this.#connections.delete(local);
    const samePort = this.#byPort.get(local.port);
    samePort?.delete(connection);
    if (samePort?.size === 0) this.#byPort.delete(local.port);
  }
}
