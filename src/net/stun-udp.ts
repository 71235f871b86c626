import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { familyOfAddress, sourceAddress } from '../core/address.ts';
import type { Endpoint } from '../core/endpoint.ts';
import { hostAddresses } from './interfaces.ts';
import { isWildcard } from './public-url.ts';

/** `on`: the address of this host that it came to; `undefined` where that isn't known. */
type OnDatagram = (bytes: Uint8Array, from: Endpoint, on: string | undefined) => void;

/**
 * One UDP port of a STUN server. What goes out of a wildcard socket has the source that the route suggests, and NATs drop
 * an answer that comes from elsewhere than was asked (RFC 1122 §4.1.3.5): on a host with several addresses, each has a
 * socket of its own. The wildcard stays for addresses that come later.
 */
export class StunUdpPort {
  readonly #onDatagram: OnDatagram;
  #socket: Socket;
  /** By address, where the host has several. */
  readonly #own = new Map<string, Socket>();

  constructor(host: string, onDatagram: OnDatagram) {
    this.#onDatagram = onDatagram;
    this.#socket = this.#newSocket(host, undefined, false);
  }

  /** Resolves with the port; fails with the system's own error. */
  async bind(address: string, wanted: number): Promise<number> {
    const { port } = await bound(this.#socket, address, wanted);
    const own = isWildcard(address) ? ownAddresses(address) : [];
    if (own.length > 1) await this.#rebind(address, port, own);
    this.#socket.on('error', () => {}); // what can't be sent is lost, like any datagram
    return port;
  }

  /** @param on the address that was asked; the one it is bound to where that is no address of this host */
  send(bytes: Uint8Array, to: Endpoint, on: string | undefined): void {
    const socket = this.#own.get(on ?? '') ?? this.#socket;
    socket.send(bytes, to.port, to.address, () => {});
  }

  async close(): Promise<void> {
    const sockets = [this.#socket, ...this.#own.values()];
    await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.close(resolve))));
  }

  /** Sockets share a port only where all are meant to: until here, one that another process has would have been told. */
  async #rebind(wildcard: string, port: number, own: readonly string[]): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(resolve));
    this.#socket = this.#newSocket(wildcard, undefined, true);
    await bound(this.#socket, wildcard, port);
    for (const address of own) {
      const socket = this.#newSocket(address, address, true);
      try {
        await bound(socket, address, port);
      } catch {
        socket.close(); // gone meanwhile, or not ready yet: the wildcard has it
        continue;
      }
      socket.on('error', () => {});
      this.#own.set(address, socket);
    }
  }

  #newSocket(host: string, on: string | undefined, reuseAddr: boolean): Socket {
    const over6 = host.includes(':');
    const socket = createSocket({ type: over6 ? 'udp6' : 'udp4', ipv6Only: over6, reuseAddr });
    return socket.on('message', (bytes, { address, port }) => {
      if (port !== 0) this.#onDatagram(bytes, { address: sourceAddress(address), port }, on);
    });
  }
}

async function bound(socket: Socket, address: string, port: number): Promise<{ port: number }> {
  socket.bind({ address, port, exclusive: true });
  await once(socket, 'listening');
  return socket.address();
}

function ownAddresses(wildcard: string): string[] {
  const family = familyOfAddress(wildcard);
  return hostAddresses().flatMap((each) => (each.family === family ? [each.address] : []));
}
