import assert from 'node:assert';
import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Fabric } from './fabric.ts';
import { trackTcp } from './flow.ts';
import type { Link, LinkOptions } from './link.ts';
import { MappingTable, type Mapping } from './mapping-table.ts';
import type { NatBehavior, TcpStrays, UdpStrays } from './nat-behavior.ts';
import {
  isBareSyn,
  resetFor,
  unreachableFor,
  type IcmpPacket,
  type Packet,
  type TcpPacket,
  type Transport,
  type UdpPacket,
} from './packet.ts';
import { PortAllocator } from './port-allocation.ts';
import type { Random } from './random.ts';
import type { Gateway, Segment, Station } from './segment.ts';

export interface NatOptions {
  readonly name: string;
  readonly behavior: NatBehavior;
  /** Where its public side is: the internet, or a carrier's inside. */
  readonly outside: Segment;
  /** Its public addresses, one unless it has a pool. */
  readonly addresses: readonly string[];
  /** LANs behind it, isolated from one another. */
  readonly inside: readonly Segment[];
  /** The public side's wire. */
  readonly link?: LinkOptions;
}

/** Packets that crossed the NAT to and from one remote address. */
export interface Traffic {
  udpOut: number;
  udpIn: number;
  tcpOut: number;
  tcpIn: number;
}

/** What a NAT would print about itself; a test asserts directness by these and not by the peers' word. */
export interface NatCounters {
  /** Mappings made. */
  readonly mappings: Record<Transport, number>;
  /** Packets from outside that no mapping and filter let in. */
  readonly strays: Record<Transport, number>;
  refusedSyns: number;
  hairpinned: number;
}

const UDP_STRAY_MS = 30_000;
const TCP_STRAY_MS = 10_000;

/** A NAT router: two mapping tables between its outside and its LANs. One hop. */
export class Nat implements Station, Gateway {
  readonly kind = 'router';
  readonly name: string;
  readonly behavior: NatBehavior;
  readonly link: Link;
  readonly counters: NatCounters = {
    mappings: { udp: 0, tcp: 0 },
    strays: { udp: 0, tcp: 0 },
    refusedSyns: 0,
    hairpinned: 0,
  };
  readonly #fabric: Fabric;
  readonly #outside: Segment;
  readonly #inside: readonly Segment[];
  readonly #random: Random;
  readonly #tables: Record<Transport, MappingTable>;
  readonly #pairing = new Map<string, string>();
  readonly #traffic = new Map<string, Traffic>();
  #addresses: readonly string[];

  constructor(fabric: Fabric, options: NatOptions) {
    this.#fabric = fabric;
    this.name = options.name;
    this.behavior = options.behavior;
    this.#outside = options.outside;
    this.#inside = options.inside;
    this.#addresses = options.addresses;
    this.#random = fabric.random.fork(`nat ${options.name}`);
    this.#tables = { udp: this.#table('udp', UDP_STRAY_MS), tcp: this.#table('tcp', TCP_STRAY_MS) };
    this.link = options.outside.attach(this, options.addresses, options.link);
    for (const segment of options.inside) segment.gateway = this;
  }

  get addresses(): readonly string[] {
    return this.#addresses;
  }

  trafficWith(remoteAddress: string): Readonly<Traffic> {
    return this.#traffic.get(remoteAddress) ?? { udpOut: 0, udpIn: 0, tcpOut: 0, tcpIn: 0 };
  }

  /** Forgets every mapping, as a power cycle does. */
  reboot(): void {
    this.#tables.udp.flush();
    this.#tables.tcp.flush();
    this.#pairing.clear();
  }

  /** Comes back under other public addresses with no state. */
  rebind(addresses: readonly string[]): void {
    for (const address of this.#addresses) this.#outside.release(address);
    for (const address of addresses) this.#outside.assign(address, this.link);
    this.#addresses = addresses;
    this.reboot();
  }

  receiveInside(packet: Packet): void {
    if (packet.protocol === 'icmp') return;
    if (!this.#mayLeave(packet)) return this.#fabric.drop(packet, this.name, 'blocked');
    if (!this.#hop(packet)) return;
    if (this.#inside.some((segment) => segment.has(packet.destination.address))) {
      return this.#fabric.drop(packet, this.name, 'no-route');
    }
    const toItself = this.#addresses.includes(packet.destination.address);
    if (toItself && this.behavior.hairpin === 'none') {
      return this.#fabric.drop(packet, this.name, 'no-hairpin');
    }
    const internal = packet.source;
    if (!this.#translateOutbound(packet)) return this.#fabric.drop(packet, this.name, 'no-mapping');
    if (toItself) return this.#hairpin(packet, internal);
    this.link.up.send(packet);
  }

  receive(packet: Packet): void {
    if (packet.protocol === 'icmp') return this.#receiveUnreachable(packet);
    if (this.behavior[packet.protocol].blocked) return this.#fabric.drop(packet, this.name, 'blocked');
    const mapping = this.#admit(packet);
    if (mapping !== undefined && this.#hop(packet)) this.#forwardInside(packet, mapping);
  }

  #mayLeave(packet: UdpPacket | TcpPacket): boolean {
    if (this.behavior[packet.protocol].blocked) return false;
    const { onlyPorts } = this.behavior.tcp;
    return packet.protocol === 'udp' || !onlyPorts || onlyPorts.includes(packet.destination.port);
  }

  /** Decrements the TTL; false where the packet dies here, before it could make a mapping. */
  #hop(packet: Packet): boolean {
    if (packet.ttl <= 1) {
      this.#fabric.drop(packet, this.name, 'ttl');
      return false;
    }
    packet.ttl--;
    return true;
  }

  /** Rewrites the source to the mapping's external endpoint. Only a SYN makes a TCP mapping: false otherwise. */
  #translateOutbound(packet: UdpPacket | TcpPacket): boolean {
    const { now } = this.#fabric.clock;
    const remote = packet.destination;
    const table = this.#tables[packet.protocol];
    const mapping =
      packet.protocol === 'udp' || isBareSyn(packet)
        ? table.findOrCreate(packet.source, remote, now)
        : table.find(packet.source, remote, now);
    if (mapping === undefined) return false;
    const flow = table.flow(mapping, remote);
    if (packet.protocol === 'tcp') trackTcp(flow, packet, true, now);
    else flow.expires = now + this.behavior.udp.lifetimeMs;
    table.refresh(mapping, remote, flow.expires);
    this.#count(remote.address, packet.protocol === 'udp' ? 'udpOut' : 'tcpOut');
    packet.source = mapping.external;
    return true;
  }

  /** The mapping that lets a packet from outside in; a stray or a refused SYN is dealt with here. */
  #admit(packet: UdpPacket | TcpPacket): Mapping | undefined {
    const { now } = this.#fabric.clock;
    const table = this.#tables[packet.protocol];
    const mapping = table.admit(packet.destination, packet.source, now);
    if (mapping === undefined) {
      this.counters.strays[packet.protocol]++;
      this.#answerStray(packet, 'stray');
      return undefined;
    }
    if (packet.protocol === 'tcp' && !this.#trackInbound(packet, mapping)) return undefined;
    this.#count(packet.source.address, packet.protocol === 'udp' ? 'udpIn' : 'tcpIn');
    return mapping;
  }

  #trackInbound(packet: TcpPacket, mapping: Mapping): boolean {
    const flow = this.#tables.tcp.flow(mapping, packet.source);
    if (isBareSyn(packet) && flow.state === 'syn-sent' && !this.behavior.tcp.crossingSyns) {
      this.counters.refusedSyns++;
      this.#answerStray(packet, 'refused-syn');
      return false;
    }
    trackTcp(flow, packet, false, this.#fabric.clock.now);
    return true;
  }

  #forwardInside(packet: Packet, mapping: Mapping): void {
    packet.destination = mapping.internal;
    const segment = this.#inside.find((candidate) => candidate.has(mapping.internal.address));
    if (segment === undefined) return this.#fabric.drop(packet, this.name, 'no-route');
    segment.forward(packet);
  }

  #answerStray(packet: UdpPacket | TcpPacket, reason: 'stray' | 'refused-syn'): void {
    const policy: UdpStrays | TcpStrays = this.behavior[packet.protocol].strays;
    if (policy === 'accept') {
      this.#tables[packet.protocol].acceptStray(packet.destination, packet.source, this.#fabric.clock.now);
    }
    this.#fabric.drop(packet, this.name, reason);
    if (policy === 'drop') return;
    const answer =
      packet.protocol === 'udp' ? unreachableFor(packet, this.name) : resetFor(packet, this.name);
    if (answer !== undefined) this.link.up.send(answer);
  }

  /** An ICMP error passes where the flow that it is about is open (RFC 5508 REQ-4); it changes no state. */
  #receiveUnreachable(packet: IcmpPacket): void {
    const mapping = this.#tables.udp.holder(packet.destination, this.#fabric.clock.now);
    if (mapping === undefined || !mapping.flows.has(packet.source)) {
      return this.#fabric.drop(packet, this.name, 'stray');
    }
    if (this.#hop(packet)) this.#forwardInside(packet, mapping);
  }

  /** Turns a translated packet around (RFC 4787 §6); the filter sees the external source in both variants. */
  #hairpin(packet: UdpPacket | TcpPacket, internal: Endpoint): void {
    const mapping = this.#admit(packet);
    if (mapping === undefined) return;
    this.counters.hairpinned++;
    if (this.behavior.hairpin === 'internal-source') packet.source = internal;
    this.#forwardInside(packet, mapping);
  }

  #count(remoteAddress: string, direction: keyof Traffic): void {
    let traffic = this.#traffic.get(remoteAddress);
    if (traffic === undefined) {
      traffic = { udpOut: 0, udpIn: 0, tcpOut: 0, tcpIn: 0 };
      this.#traffic.set(remoteAddress, traffic);
    }
    traffic[direction]++;
  }

  #table(transport: Transport, acceptedStrayMs: number): MappingTable {
    const { mapping, filtering, allocation, strays } = this.behavior[transport];
    const allocator = new PortAllocator(
      allocation,
      this.#fabric.endpoints,
      this.#random.fork(`${transport} ports`),
    );
    const isTaken = (external: Endpoint): boolean =>
      this.#tables[transport].holder(external, this.#fabric.clock.now) !== undefined;
    const rules = { mapping, filtering, strayMs: strays === 'accept' ? acceptedStrayMs : 0 };
    return new MappingTable(rules, (internal) => {
      this.counters.mappings[transport]++;
      const address = this.#publicAddress(internal.address);
      return allocator.allocate(internal, address, isTaken, this.#fabric.clock.now);
    });
  }

  #publicAddress(internalAddress: string): string {
    const any = (): string => this.#addresses[this.#random.integer(0, this.#addresses.length - 1)]!;
    assert(this.#addresses.length > 0, `${this.name} has no public address`);
    if (this.behavior.pooling === 'arbitrary') return any();
    let paired = this.#pairing.get(internalAddress);
    if (paired === undefined) this.#pairing.set(internalAddress, (paired = any()));
    return paired;
  }
}
