import type { Endpoint } from '../endpoint.ts';
import type { Instant } from '../machine.ts';
import { PortOrder } from './port-order.ts';
import type { PortProbes } from './port-probes.ts';
import { BIRTHDAY_SOCKETS } from './schedule.ts';

const PROBES_PER_MS = 1;
const CATCH_UP_MS = 50;

/** After refusals, for one port: longer than from one row to the next. And for all together. */
const REPEATS_PER_PORT = 8;
const REPEATS = 200;

/** After the first contact both ends hold their fire; checks repeat by themselves. */
const CONTACT_MS = 2_000;

export interface BirthdayOptions {
  readonly probes: PortProbes;
  /** Probes that it may send, but for those to ports that refused one. */
  readonly most: number;
  /** From one row of the hard side's sockets to the next; with full hop limit from the second on. */
  readonly rowEveryMs: number;
  /** This end's mapping depends on the destination: it opens many sockets. */
  readonly manySockets: boolean;
  /** The other end's mapping; of its port the sprayer makes no use. */
  readonly target: Endpoint;
  /** Hop limit of the first row, which only has to make mappings in this end's own NATs. */
  readonly ttl: number;
  /** A uniform random number from 0 to below its argument. */
  readonly integer: (below: number) => number;
}

/**
 * A NAT that gives each destination a new random port can't be aimed at. But 256 sockets behind it, all sending to
 * the peer's one mapping, hold 256 of its 64,512 ports open for exactly that mapping, and the peer, probing random
 * ports from the socket of that mapping, soon meets one of them (the birthday paradox).
 *
 * The other way round it doesn't work: every probe of the hard side comes from a new port.
 */
export class Birthday {
  #options: BirthdayOptions;
  #startAt: Instant;
  #ports: PortOrder;
  #sprayed = 0;
  /** Probes to ports that had refused one, by port. */
  #again = new Map<number, number>();
  #repeated = 0;
  #rows = 0;

  constructor(options: BirthdayOptions, startAt: Instant) {
    this.#options = options;
    this.#startAt = startAt;
    this.#ports = new PortOrder(options.integer);
  }

  /** Probes sent. */
  get sent(): number {
    return this.#options.manySockets ? this.#rows * BIRTHDAY_SOCKETS : this.#sprayed + this.#repeated;
  }

  get deadline(): Instant | undefined {
    const { probes, manySockets } = this.#options;
    if (probes.isSettled) return undefined;
    const due = manySockets ? this.#nextRow : this.#nextProbe;
    const held = probes.contactAt === undefined ? undefined : probes.contactAt + CONTACT_MS;
    return due === undefined || held === undefined ? due : Math.max(due, held);
  }

  handleTimeout(now: Instant): void {
    const { deadline } = this;
    if (deadline === undefined || now < deadline) return;
    if (this.#options.manySockets) this.#sendRow(now);
    else this.#spray(now);
  }

  /**
   * TCP, where our own NAT answers strays by RST: the peer's many dials are refused before our spray has opened their
   * ports. A port of the peer's that has a mapping then shows itself by a refusal amid silence, and the peer will dial
   * from it again: so keep a dial waiting there.
   */
  refused(socket: number, { address, port }: Endpoint, now: Instant): void {
    const { probes } = this.#options;
    const tries = this.#again.get(port) ?? 0;
    if (socket !== 0 || tries >= REPEATS_PER_PORT || this.#repeated >= REPEATS) return;
    this.#again.set(port, tries + 1);
    this.#repeated++;
    probes.spray(0, { address, port }, now);
  }

  get #nextRow(): Instant | undefined {
    const { most, rowEveryMs } = this.#options;
    const another = this.sent + BIRTHDAY_SOCKETS <= most;
    return another ? this.#startAt + this.#rows * rowEveryMs : undefined;
  }

  get #nextProbe(): Instant | undefined {
    return this.#sprayed < this.#options.most ? this.#startAt + this.#sprayed / PROBES_PER_MS : undefined;
  }

  #sendRow(now: Instant): void {
    const { probes, target, ttl } = this.#options;
    const first = this.#rows++ === 0;
    for (let socket = 1; socket <= BIRTHDAY_SOCKETS; socket++) {
      probes.spray(socket, target, now, first ? ttl : undefined);
    }
  }

  /** All that are due by now: a timer that fires late is caught up with, but a pause is not. */
  #spray(now: Instant): void {
    const { probes, target } = this.#options;
    const late = now - this.#nextProbe!;
    if (late > CATCH_UP_MS) this.#startAt += late;
    while (this.#nextProbe !== undefined && this.#nextProbe <= now) {
      const port = this.#ports.next();
      if (port === undefined) return;
      this.#sprayed++;
      probes.spray(0, { address: target.address, port }, now);
    }
  }
}
