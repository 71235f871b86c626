import type { Instant } from '../../src/core/machine.ts';
import { Fabric } from './fabric.ts';
import { Host, type HostOptions } from './host.ts';
import type { LinkOptions } from './link.ts';
import { Nat, type NatOptions } from './nat.ts';
import { Segment } from './segment.ts';

export interface WorldOptions {
  readonly seed?: number | string;
  /** Routers between any two stations of the public internet. */
  readonly hops?: number;
}

export interface WorldHostOptions extends HostOptions {
  readonly segment: Segment;
  readonly addresses: readonly string[];
  readonly link?: LinkOptions;
}

/** What a run may take in virtual time before it counts as stuck. */
const RUN_LIMIT_MS = 600_000;

/** A virtual internet with virtual time. Equal seeds and equal calls give equal runs, packet by packet. */
export class World extends Fabric {
  /** The public segment: whatever is attached here has a public address. */
  readonly internet: Segment;
  #servers = 0;

  constructor({ seed = 1, hops = 2 }: WorldOptions = {}) {
    super(seed);
    this.internet = new Segment(this, 'internet', hops);
  }

  get now(): Instant {
    return this.clock.now;
  }

  lan(name: string): Segment {
    return new Segment(this, name);
  }

  host({ segment, addresses, link, ...options }: WorldHostOptions): Host {
    const host = new Host(this, options);
    host.attach(segment, addresses, link);
    return host;
  }

  nat(options: NatOptions): Nat {
    return new Nat(this, options);
  }

  /** A public host with `addresses` many addresses of 203.0.113.0/24, without a NAT and without delay of its own. */
  server(addresses = 1, link: LinkOptions = {}): Host {
    const own = Array.from({ length: addresses }, () => `203.0.113.${++this.#servers}`);
    return this.host({ name: `server ${own[0]}`, segment: this.internet, addresses: own, link });
  }

  /**
   * Runs to a point in time, or until a predicate holds after some event. False where the predicate never held,
   * because nothing was left to happen or `limitMs` of virtual time had passed.
   */
  run(until: Instant | (() => boolean), limitMs = RUN_LIMIT_MS): boolean {
    const isDone = typeof until === 'number' ? () => false : until;
    const end = typeof until === 'number' ? until : this.now + limitMs;
    while (!isDone()) {
      const { next } = this.clock;
      if (next === undefined || next > end) {
        if (typeof until === 'number') this.clock.advanceTo(end);
        return typeof until === 'number';
      }
      this.clock.step();
    }
    return true;
  }

  runFor(milliseconds: number): void {
    this.run(this.now + milliseconds);
  }
}
