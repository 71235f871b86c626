import assert from 'node:assert';
import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Instant } from '../../src/core/machine.ts';
import type { Timeline, Timer } from './clock.ts';
import type { Fabric } from './fabric.ts';
import type { Link, LinkOptions } from './link.ts';
import type { Packet, UdpPacket } from './packet.ts';
import type { Random } from './random.ts';
import type { Segment, Station } from './segment.ts';
import { TcpStack } from './tcp.ts';
import { UdpSocket } from './udp.ts';

export interface HostOptions {
  readonly name: string;
  /** How far this host's clock is ahead of the world's. */
  readonly clockOffsetMs?: number;
}

/** One network interface: its addresses on one segment, over one link. */
export interface Interface {
  readonly segment: Segment;
  readonly addresses: readonly string[];
  readonly link: Link;
}

/** Packets that a host got from one other host, whatever routers did to their addresses. */
export interface Received {
  udp: number;
  tcp: number;
}

/** Linux's `ip_local_port_range`. */
const EPHEMERAL_PORTS: readonly [number, number] = [32_768, 60_999];

/** A computer with interfaces, UDP sockets, a TCP stack and a clock of its own. */
export class Host implements Station, Timeline {
  readonly kind = 'host';
  readonly name: string;
  readonly fabric: Fabric;
  readonly random: Random;
  readonly tcp: TcpStack;
  /** ICMP port-unreachable messages that arrived; unconnected UDP sockets never learn of them. */
  unreachables = 0;
  readonly #clockOffsetMs: number;
  #interfaces: Interface[] = [];
  readonly #udpSockets = new Map<number, UdpSocket[]>();
  readonly #received = new Map<string, Received>();

  constructor(fabric: Fabric, { name, clockOffsetMs = 0 }: HostOptions) {
    this.fabric = fabric;
    this.name = name;
    this.random = fabric.random.fork(`host ${name}`);
    this.#clockOffsetMs = clockOffsetMs;
    this.tcp = new TcpStack(this);
  }

  /** This host's own clock. */
  get now(): Instant {
    return this.fabric.clock.now + this.#clockOffsetMs;
  }

  at(when: Instant, action: () => void): Timer {
    return this.fabric.clock.at(when - this.#clockOffsetMs, action);
  }

  get interfaces(): readonly Interface[] {
    return this.#interfaces;
  }

  get addresses(): readonly string[] {
    return this.#interfaces.flatMap(({ addresses }) => addresses);
  }

  /** The first address of the default route's interface. */
  get address(): string {
    const address = this.#interfaces[0]?.addresses[0];
    assert(address !== undefined, `${this.name} has no interface`);
    return address;
  }

  attach(segment: Segment, addresses: readonly string[], link?: LinkOptions): Interface {
    const attached = { segment, addresses, link: segment.attach(this, addresses, link) };
    this.#interfaces.push(attached);
    return attached;
  }

  /** Unplugs an interface; its addresses are gone, sockets stay. */
  detach(gone: Interface): void {
    for (const address of gone.addresses) gone.segment.release(address);
    this.#interfaces = this.#interfaces.filter((attached) => attached !== gone);
  }

  /** Binds a UDP socket: `port` 0 takes a free ephemeral one, no address means every one of the host's. */
  udp(port = 0, address?: string): UdpSocket {
    const bound = port === 0 ? this.ephemeralPort((candidate) => this.#udpSockets.has(candidate)) : port;
    const others = this.#udpSockets.get(bound) ?? [];
    assert(
      others.every((other) => other.boundAddress !== address),
      `EADDRINUSE: udp port ${bound} on ${this.name}`,
    );
    const socket = new UdpSocket(this, bound, address);
    this.#udpSockets.set(bound, [...others, socket]);
    return socket;
  }

  /** Called by a socket that closes. */
  unbind(socket: UdpSocket): void {
    const others = (this.#udpSockets.get(socket.port) ?? []).filter((other) => other !== socket);
    if (others.length > 0) this.#udpSockets.set(socket.port, others);
    else this.#udpSockets.delete(socket.port);
  }

  ephemeralPort(isTaken: (port: number) => boolean): number {
    for (let tries = 0; tries < 1_000_000; tries++) {
      const port = this.random.integer(...EPHEMERAL_PORTS);
      if (!isTaken(port)) return port;
    }
    assert.fail(`${this.name} has no free port`);
  }

  /** The own address that a packet to `remote` leaves from; `undefined` without an interface. */
  sourceAddressFor(remote: Endpoint): string | undefined {
    if (this.#interfaces.length === 1) return this.#interfaces[0]?.addresses[0];
    if (this.addresses.includes(remote.address)) return remote.address;
    const local = this.#interfaces.find(({ segment }) => segment.has(remote.address));
    return (local ?? this.#interfaces[0])?.addresses[0];
  }

  send(packet: Packet): void {
    if (this.#owns(packet.destination.address)) {
      this.fabric.clock.at(this.fabric.clock.now, () => this.receive(packet));
      return;
    }
    const { address } = packet.source;
    const route = this.#interfaces.find(({ addresses }) => addresses.includes(address));
    if (route === undefined) return this.fabric.drop(packet, this.name, 'no-route');
    route.link.up.send(packet);
  }

  receive(packet: Packet): void {
    if (!this.#owns(packet.destination.address)) return this.fabric.drop(packet, this.name, 'no-route');
    if (packet.protocol === 'icmp') {
      this.unreachables++;
      return this.fabric.deliver(packet, this.name);
    }
    this.#count(packet.origin, packet.protocol);
    if (packet.protocol === 'tcp') {
      this.fabric.deliver(packet, this.name);
      return this.tcp.receive(packet);
    }
    this.#receiveDatagram(packet);
  }

  /** What arrived here from another host: proof of a direct path that no router's table can fake. */
  receivedFrom(other: Host): Readonly<Received> {
    return this.#received.get(other.name) ?? { udp: 0, tcp: 0 };
  }

  #receiveDatagram(packet: UdpPacket): void {
    const sockets = this.#udpSockets.get(packet.destination.port);
    const socket =
      sockets?.find(({ boundAddress }) => boundAddress === packet.destination.address) ??
      sockets?.find(({ boundAddress }) => boundAddress === undefined);
    if (socket === undefined) return this.fabric.drop(packet, this.name, 'no-socket');
    this.fabric.deliver(packet, this.name);
    socket.onDatagram?.(packet.payload, packet.source);
  }

  #owns(address: string): boolean {
    for (const attached of this.#interfaces) if (attached.addresses.includes(address)) return true;
    return false;
  }

  #count(origin: string, transport: keyof Received): void {
    let received = this.#received.get(origin);
    if (received === undefined) this.#received.set(origin, (received = { udp: 0, tcp: 0 }));
    received[transport]++;
  }
}
