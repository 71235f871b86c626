import assert from 'node:assert';
import type { Fabric } from './fabric.ts';
import { Link, LinkDirection, type LinkOptions } from './link.ts';
import type { Packet } from './packet.ts';

/** A host, or the outside of a router: owns addresses on a segment and takes the packets sent to them. */
export interface Station {
  readonly name: string;
  readonly kind: 'host' | 'router';
  receive(packet: Packet): void;
}

/** The inside of a router: takes the packets whose destination is not on its segment. */
export interface Gateway {
  receiveInside(packet: Packet): void;
}

/**
 * One broadcast domain. A LAN is a switch (no hops) with a gateway; the public internet is a segment of
 * `hops` routers without one.
 */
export class Segment {
  readonly name: string;
  gateway: Gateway | undefined;
  readonly #fabric: Fabric;
  readonly #hops: number;
  readonly #stations = new Map<string, Link>();

  constructor(fabric: Fabric, name: string, hops = 0) {
    this.#fabric = fabric;
    this.name = name;
    this.#hops = hops;
  }

  /** Plugs a station in under the given addresses; they share one link. */
  attach(station: Station, addresses: readonly string[], options: LinkOptions = {}): Link {
    const name = `${station.name}@${this.name}`;
    const up = { name: `${name} up`, queued: false, receive: (packet: Packet) => this.forward(packet) };
    const down = {
      name: `${name} down`,
      queued: station.kind === 'host',
      receive: (packet: Packet) => station.receive(packet),
    };
    const link = new Link(
      new LinkDirection(this.#fabric, up, options),
      new LinkDirection(this.#fabric, down, options),
    );
    for (const address of addresses) this.assign(address, link);
    return link;
  }

  assign(address: string, link: Link): void {
    assert(!this.#stations.has(address), `${address} is taken on ${this.name}`);
    this.#stations.set(address, link);
  }

  release(address: string): void {
    this.#stations.delete(address);
  }

  has(address: string): boolean {
    return this.#stations.has(address);
  }

  forward(packet: Packet): void {
    const link = this.#stations.get(packet.destination.address);
    if (link === undefined && this.gateway !== undefined) return this.gateway.receiveInside(packet);
    if (packet.ttl <= this.#hops) return this.#fabric.drop(packet, this.name, 'ttl');
    packet.ttl -= this.#hops;
    if (link === undefined) return this.#fabric.drop(packet, this.name, 'no-route');
    link.down.send(packet);
  }
}
