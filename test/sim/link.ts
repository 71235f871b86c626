import type { Instant } from '../../src/core/machine.ts';
import type { Fabric } from './fabric.ts';
import type { Packet } from './packet.ts';
import type { Random } from './random.ts';

/** What a link does to packets, in each direction. Percentages are of packets, times one-way milliseconds. */
export interface LinkOptions {
  readonly delayMs?: number;
  /** Added to the delay, uniform in [0, jitterMs]; order is kept. */
  readonly jitterMs?: number;
  readonly lossPercent?: number;
  /** Held back by up to `REORDER_WINDOW_MS` while later packets pass. */
  readonly reorderPercent?: number;
  readonly duplicatePercent?: number;
}

const REORDER_WINDOW_MS = 10;

/** The wire between one station (a host, or a router's outside) and its segment. */
export class Link {
  readonly up: LinkDirection;
  readonly down: LinkDirection;

  /** `up` leads from the station to the segment, `down` back. */
  constructor(up: LinkDirection, down: LinkDirection) {
    this.up = up;
    this.down = down;
  }

  configure(options: LinkOptions): void {
    this.up.configure(options);
    this.down.configure(options);
  }

  /** While true, everything in both directions is lost in silence. */
  set cut(cut: boolean) {
    this.up.cut = cut;
    this.down.cut = cut;
  }
}

export interface LinkEnd {
  readonly name: string;
  /** Routers take packets at once; hosts only from the event queue, so that no handler is re-entered. */
  readonly queued: boolean;
  readonly receive: (packet: Packet) => void;
}

export class LinkDirection {
  cut = false;
  readonly #fabric: Fabric;
  readonly #end: LinkEnd;
  readonly #random: Random;
  #options: LinkOptions;
  /** When the last packet that kept its order arrives; the next one can't come before. */
  #lastArrival: Instant = 0;

  constructor(fabric: Fabric, end: LinkEnd, options: LinkOptions) {
    this.#fabric = fabric;
    this.#end = end;
    this.#options = options;
    this.#random = fabric.random.fork(`link ${end.name}`);
  }

  configure(options: LinkOptions): void {
    this.#options = { ...this.#options, ...options };
  }

  send(packet: Packet): void {
    if (this.cut) return this.#fabric.drop(packet, this.#end.name, 'cut');
    if (this.#random.percent(this.#options.lossPercent ?? 0)) {
      return this.#fabric.drop(packet, this.#end.name, 'loss');
    }
    if (this.#random.percent(this.#options.duplicatePercent ?? 0)) this.#carry({ ...packet });
    this.#carry(packet);
  }

  #carry(packet: Packet): void {
    const arrival = this.#arrival();
    if (!this.#end.queued && arrival <= this.#fabric.clock.now) return this.#end.receive(packet);
    this.#fabric.clock.at(arrival, () => this.#end.receive(packet));
  }

  #arrival(): Instant {
    const { delayMs = 0, jitterMs = 0, reorderPercent = 0 } = this.#options;
    const jitter = jitterMs > 0 ? this.#random.next() * jitterMs : 0;
    const arrival = Math.max(this.#fabric.clock.now + delayMs + jitter, this.#lastArrival);
    if (this.#random.percent(reorderPercent)) return arrival + this.#random.next() * REORDER_WINDOW_MS;
    this.#lastArrival = arrival;
    return arrival;
  }
}
