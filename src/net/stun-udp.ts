import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { sourceAddress } from '../core/address.ts';
import type { Endpoint } from '../core/endpoint.ts';

/** One UDP port of a STUN server. */
export class StunUdpPort {
  readonly #socket: Socket;

  constructor(host: string, onDatagram: (bytes: Uint8Array, from: Endpoint) => void) {
    this.#socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', ipv6Only: host.includes(':') });
    this.#socket.on('message', (bytes, { address, port }) => {
      if (port !== 0) onDatagram(bytes, { address: sourceAddress(address), port });
    });
  }

  /** Resolves with the port; fails with the system's own error. */
  async bind(address: string, port: number): Promise<number> {
    this.#socket.bind({ address, port, exclusive: true });
    await once(this.#socket, 'listening');
    this.#socket.on('error', () => {}); // what can't be sent is lost, like any datagram
    return this.#socket.address().port;
  }

  send(bytes: Uint8Array, to: Endpoint): void {
    this.#socket.send(bytes, to.port, to.address, () => {});
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }
}
