import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Host } from './host.ts';
import { DEFAULT_TTL } from './packet.ts';

/** An unconnected UDP socket. Bytes are passed by reference: sender and receiver must not change them. */
export class UdpSocket {
  readonly port: number;
  /** `undefined` when bound to every address of the host. */
  readonly boundAddress: string | undefined;
  onDatagram: ((bytes: Uint8Array, from: Endpoint) => void) | undefined;
  readonly #host: Host;
  #closed = false;

  constructor(host: Host, port: number, boundAddress: string | undefined) {
    this.#host = host;
    this.port = port;
    this.boundAddress = boundAddress;
  }

  /** The local endpoint, with the host's first address where the socket is bound to all. */
  get local(): Endpoint {
    return { address: this.boundAddress ?? this.#host.address, port: this.port };
  }

  /** Sends one datagram; nothing is sent without an interface, or after `close`. */
  send(bytes: Uint8Array, to: Endpoint, ttl = DEFAULT_TTL): void {
    const address = this.boundAddress ?? this.#host.sourceAddressFor(to);
    if (this.#closed || address === undefined) return;
    const { endpoints } = this.#host.fabric;
    this.#host.send({
      protocol: 'udp',
      source: endpoints.at(address, this.port),
      destination: endpoints.intern(to),
      ttl,
      origin: this.#host.name,
      payload: bytes,
    });
  }

  close(): void {
    this.#closed = true;
    this.onDatagram = undefined;
    this.#host.unbind(this);
  }
}
