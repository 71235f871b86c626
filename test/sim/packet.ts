import type { Endpoint } from '../../src/core/endpoint.ts';

/**
 * What travels over the simulated internet. A packet is one object from its sender to its receiver: routers
 * rewrite it in place. Endpoints in packets are interned (`EndpointTable`), so they compare by identity.
 */
export type Packet = UdpPacket | TcpPacket | IcmpPacket;

export type Transport = 'udp' | 'tcp';

interface Header {
  source: Endpoint;
  destination: Endpoint;
  ttl: number;
  /** Name of the host or router that made it; survives translation, so that counters can't be fooled. */
  readonly origin: string;
}

export interface UdpPacket extends Header {
  readonly protocol: 'udp';
  readonly payload: Uint8Array;
}

/** Flags and numbers as in RFC 9293 §3.1. Sequence numbers don't wrap here: they start below 2^31 and may exceed 2^32. */
export interface TcpPacket extends Header {
  readonly protocol: 'tcp';
  readonly syn: boolean;
  readonly ack: boolean;
  readonly fin: boolean;
  readonly rst: boolean;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly payload: Uint8Array;
}

/** Port unreachable about a UDP datagram from `destination` to `source` (RFC 792). */
export interface IcmpPacket extends Header {
  readonly protocol: 'icmp';
}

export const DEFAULT_TTL = 64;
export const NO_PAYLOAD: Uint8Array = new Uint8Array(0);

/** The RST that answers a segment for which nobody is there (RFC 9293 §3.10.7.1); `undefined` for a RST itself. */
export function resetFor(packet: TcpPacket, origin: string): TcpPacket | undefined {
  if (packet.rst) return undefined;
  return {
    protocol: 'tcp',
    source: packet.destination,
    destination: packet.source,
    ttl: DEFAULT_TTL,
    origin,
    syn: false,
    ack: !packet.ack,
    fin: false,
    rst: true,
    sequence: packet.ack ? packet.acknowledgement : 0,
    acknowledgement: packet.ack ? 0 : packet.sequence + sequenceLength(packet),
    payload: NO_PAYLOAD,
  };
}

/** How much sequence space a segment takes: its bytes, and one each for SYN and FIN. */
export function sequenceLength(packet: TcpPacket): number {
  return packet.payload.length + Number(packet.syn) + Number(packet.fin);
}

export function unreachableFor(packet: UdpPacket, origin: string): IcmpPacket {
  return {
    protocol: 'icmp',
    source: packet.destination,
    destination: packet.source,
    ttl: DEFAULT_TTL,
    origin,
  };
}

/** A SYN without ACK: the first packet of a connection, from either end. */
export function isBareSyn(packet: Packet): boolean {
  return packet.protocol === 'tcp' && packet.syn && !packet.ack;
}

/** One object per endpoint, so that tables are keyed by identity and packets allocate none. */
export class EndpointTable {
  readonly #byAddress = new Map<string, Map<number, Endpoint>>();

  at(address: string, port: number): Endpoint {
    let byPort = this.#byAddress.get(address);
    if (byPort === undefined) this.#byAddress.set(address, (byPort = new Map<number, Endpoint>()));
    let endpoint = byPort.get(port);
    if (endpoint === undefined) byPort.set(port, (endpoint = Object.freeze({ address, port })));
    return endpoint;
  }

  intern(endpoint: Endpoint): Endpoint {
    return this.at(endpoint.address, endpoint.port);
  }
}
