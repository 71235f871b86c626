import { VirtualClock } from './clock.ts';
import { EndpointTable, type Packet } from './packet.ts';
import { hashText, mix, Random } from './random.ts';

/** Why a packet ended before its destination. */
export type DropReason =
  | 'loss'
  | 'cut'
  | 'ttl'
  | 'no-route'
  | 'blocked'
  | 'stray'
  | 'refused-syn'
  | 'no-mapping'
  | 'no-hairpin'
  | 'no-socket';

/** Something that a test may watch: a packet's arrival at a host, or its end elsewhere. */
export interface TraceEvent {
  readonly at: number;
  readonly where: string;
  readonly what: 'delivered' | DropReason;
  readonly packet: Packet;
}

/** What all links, routers and hosts of one simulated internet share: time, chance, interned endpoints, the trace. */
export class Fabric {
  readonly clock = new VirtualClock();
  readonly endpoints = new EndpointTable();
  readonly random: Random;
  readonly drops: Partial<Record<DropReason, number>> = {};
  delivered = 0;
  /** Called for every packet that ends; for debugging one seed. */
  observer: ((event: TraceEvent) => void) | undefined;
  #hash = 0x811c9dc5;
  readonly #addressHashes = new Map<string, number>();

  constructor(seed: number | string) {
    this.random = new Random(seed);
  }

  /** A hash over the time, kind and endpoints of every packet that ended so far: equal seeds give equal traces. */
  get fingerprint(): number {
    return this.#hash >>> 0;
  }

  drop(packet: Packet, where: string, reason: DropReason): void {
    this.drops[reason] = (this.drops[reason] ?? 0) + 1;
    this.#record(packet, where, reason);
  }

  deliver(packet: Packet, where: string): void {
    this.delivered++;
    this.#record(packet, where, 'delivered');
  }

  #record(packet: Packet, where: string, what: TraceEvent['what']): void {
    let hash = mix(this.#hash, Math.round(this.clock.now * 1000));
    hash = mix(hash, this.#addressHash(packet.source.address) ^ packet.source.port);
    hash = mix(hash, this.#addressHash(packet.destination.address) ^ (packet.destination.port << 8));
    hash = mix(hash, what.length * 31 + packet.protocol.length);
    this.#hash = mix(hash, packet.protocol === 'icmp' ? 0 : packet.payload.length);
    this.observer?.({ at: this.clock.now, where, what, packet: { ...packet } });
  }

  #addressHash(address: string): number {
    let hash = this.#addressHashes.get(address);
    if (hash === undefined) this.#addressHashes.set(address, (hash = hashText(address)));
    return hash;
  }
}
