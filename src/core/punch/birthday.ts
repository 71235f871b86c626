import type { Endpoint } from '../endpoint.ts';
import type { Instant } from '../machine.ts';
import { PortOrder } from './port-order.ts';
import type { PortProbes } from './port-probes.ts';
import { heldUpMs } from './schedule.ts';

const PROBES_PER_MS = 1;

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
  /** Where this end's mapping depends on the destination: so many it opens, all towards the other's mapping. */
  readonly sockets: number | undefined;
  /** The other end's mapping, which the sockets send to. */
  readonly target: Endpoint;
  /** The other end's addresses whose ports are tried in turn. At least one. */
  readonly addresses: readonly string[];
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
 * A NAT with a pool of addresses deals the mappings out over all of them. Then it takes more sockets, and the ports are
 * tried at each address at which the peer was seen: one NAT draws the address anew for each mapping, for which that
 * makes no difference, and another one by the destination, at whose one address all the mappings are then.
 *
 * The hard side can't do the probing: each of its probes leaves by a new port, and the peer's strict filter lets in
 * only a port that was sent to.
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
    const { sockets } = this.#options;
    return sockets === undefined ? this.#sprayed + this.#repeated : this.#rows * sockets;
  }

  get deadline(): Instant | undefined {
    const { probes, sockets } = this.#options;
    if (probes.isSettled) return undefined;
    const due = sockets === undefined ? this.#nextProbe : this.#nextRow;
    const held = probes.contactAt === undefined ? undefined : probes.contactAt + CONTACT_MS;
    return due === undefined || held === undefined ? due : Math.max(due, held);
  }

  handleTimeout(now: Instant): void {
    const { deadline } = this;
    if (deadline === undefined || now < deadline) return;
    if (this.#options.sockets === undefined) this.#spray(now);
    else this.#sendRow(now);
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
    const { most, rowEveryMs, sockets = 0 } = this.#options;
    const another = this.sent + sockets <= most;
    return another ? this.#startAt + this.#rows * rowEveryMs : undefined;
  }

  get #nextProbe(): Instant | undefined {
    return this.#sprayed < this.#options.most ? this.#startAt + this.#sprayed / PROBES_PER_MS : undefined;
  }

  #sendRow(now: Instant): void {
    const { probes, target, ttl, sockets = 0 } = this.#options;
    const first = this.#rows++ === 0;
    for (let socket = 1; socket <= sockets; socket++) {
      probes.spray(socket, target, now, first ? ttl : undefined);
    }
  }

  /** All that are due by now: a timer that fires late is caught up with, but a pause is not. */
  #spray(now: Instant): void {
    const { probes, addresses } = this.#options;
    this.#startAt += heldUpMs(this.#nextProbe, now);
    while (this.#nextProbe !== undefined && this.#nextProbe <= now) {
      const port = this.#ports.next();
      if (port === undefined) return;
      const address = addresses[this.#sprayed++ % addresses.length]!;
      probes.spray(0, { address, port }, now);
    }
  }
}
