import { randomInt } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { sourceAddress } from '../core/address.ts';
import type { Endpoint } from '../core/endpoint.ts';
import { SallyportError } from '../core/errors.ts';
import type { Identity } from '../core/identity.ts';
import type { Instant } from '../core/machine.ts';
import { StunResponder, type StunLocal, type StunPeer } from '../core/stun/responder.ts';
import { listenFailure } from './listen-failure.ts';
import { StunDelivery } from './stun-delivery.ts';
import { StunDialer } from './stun-dial.ts';
import { StunTcpPort } from './stun-tcp.ts';
import { StunUdpPort } from './stun-udp.ts';

export interface StunServerOptions {
  /** Where to bind: the primary address, and a second one of this host if there is one (RFC 5780). */
  readonly addresses: readonly [primary: string, alternate?: string | undefined];
  /** Primary and alternate port, the same for UDP and TCP; 0 takes a free one. */
  readonly ports: readonly [number, number];
  /** What the outside calls the two addresses, where it isn't what they are bound to. */
  readonly publicAddress?: string | undefined;
  readonly alternateAddress?: string | undefined;
  /** Signs the attestations. */
  readonly deployment: Identity;
  /** A registration's peer and key by USERNAME; strangers only, where there are no registrations. */
  readonly lookup: (username: string) => StunPeer | undefined;
  /** The clock that attestations are dated by, milliseconds. */
  readonly now: () => Instant;
}

/** One of the server's addresses on one of its ports, UDP and TCP. */
interface Seat {
  readonly udp: StunUdpPort;
  readonly tcp: StunTcpPort;
}

/** A STUN server (RFC 8489) on two ports and one or two addresses; with two, full RFC 5780 over UDP. */
export class StunServer {
  /** Both ports of the primary address, then of the second; address `''` where only the outside knows it. */
  readonly udp: Endpoint[];
  readonly tcp: Endpoint[];
  /** By address, then by port. */
  readonly #seats: Seat[][] = [];
  readonly #addresses: string[];
  readonly #public: (string | undefined)[];
  #ports: number[] = [];
  readonly #responder: StunResponder;
  readonly #dialer = new StunDialer();
  readonly #delivery = new StunDelivery();
  readonly #now: () => Instant;

  private constructor(options: StunServerOptions) {
    const { deployment, lookup, now, publicAddress, alternateAddress } = options;
    this.#addresses = options.addresses.filter((address) => address !== undefined);
    this.#public = this.#addresses.map(
      (address, i) => (i === 0 ? publicAddress : alternateAddress) ?? known(address),
    );
    this.#responder = new StunResponder({ deployment, lookup, seed: randomInt(2 ** 32), isOwn });
    this.#now = now;
    this.udp = [];
    this.tcp = [];
  }

  /** Fails with `PORT_IN_USE` or `USAGE`; then nothing is left bound. */
  static async start(options: StunServerOptions): Promise<StunServer> {
    const server = new StunServer(options);
    try {
      for (const port of options.ports) await server.#open(port);
    } catch (error) {
      await server.close();
      throw error;
    }
    const endpoints = server.#public.flatMap((address) =>
      server.#ports.map((port) => ({ address: address ?? '', port })),
    );
    server.udp.push(...endpoints);
    server.tcp.push(...endpoints);
    return server;
  }

  async close(): Promise<void> {
    this.#dialer.close();
    this.#delivery.close();
    const seats = this.#seats.splice(0).flat();
    await Promise.all(seats.flatMap(({ udp, tcp }) => [udp.close(), tcp.close()]));
  }

  /** Opens one port on every address; a free one has to be free on all of them, for UDP and TCP. */
  async #open(wanted: number): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#bind(wanted);
      } catch (cause) {
        if (isInUse(cause) && wanted === 0 && attempt < ATTEMPTS) continue;
        throw bindError(cause, wanted, this.#addresses);
      }
    }
  }

  async #bind(wanted: number): Promise<void> {
    const index = this.#ports.length;
    const opened: Seat[] = [];
    let port = wanted;
    try {
      for (const [row, address] of this.#addresses.entries()) {
        const seat = this.#seat(row, index, address);
        opened.push(seat);
        port = await seat.udp.bind(address, port);
        await seat.tcp.listen(address, port);
      }
    } catch (error) {
      await Promise.all(opened.flatMap(({ udp, tcp }) => [udp.close(), tcp.close()]));
      throw error;
    }
    this.#ports.push(port);
    for (const [row, seat] of opened.entries()) (this.#seats[row] ??= []).push(seat);
  }

  #seat(row: number, index: number, host: string): Seat {
    const onDatagram = (bytes: Uint8Array, from: Endpoint, on: string | undefined): void => {
      const arrival = { transport: 'udp', from, on: this.#local(row, index) } as const;
      const reply = this.#responder.respond(bytes, arrival, this.#now());
      if (!reply) return;
      const { address, port } = reply.change;
      this.#seats[address ? 1 - row : row]?.[port ? 1 - index : index]?.udp.send(reply.bytes, reply.to, on);
    };
    const tcp = new StunTcpPort({
      respond: (bytes, from) => {
        const arrival = { transport: 'tcp', from, on: this.#local(row, index) } as const;
        const reply = this.#responder.respond(bytes, arrival, this.#now());
        if (!reply || reply.to.port === from.port) return reply;
        this.#delivery.send(bytes, reply);
        return undefined;
      },
      dial: ({ to, fromOtherAddress }, contacted) =>
        this.#dialer.dial(to, fromOtherAddress ? (this.#addresses[1 - row] ?? contacted) : contacted),
    });
    return { udp: new StunUdpPort(host, onDatagram), tcp };
  }

  #local(row: number, index: number): StunLocal {
    return {
      address: this.#public[row],
      port: this.#ports[index] ?? 0,
      otherAddress: this.#public[1 - row],
      otherPort: this.#ports[1 - index] ?? 0,
    };
  }
}

function isInUse(cause: unknown): boolean {
  return (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
}

function bindError(cause: unknown, port: number, addresses: readonly string[]): SallyportError {
  if (isInUse(cause)) {
    const where = `STUN port ${port} can't be bound on ${addresses.join(' and ')}`;
    const hint = 'choose another with --stun-port, or 0 for any';
    return new SallyportError('PORT_IN_USE', `${where}: it is taken`, { hint, cause });
  }
  const failure = cause as NodeJS.ErrnoException & { address?: string };
  const where = failure.address === undefined ? addresses.join(' and ') : failure.address;
  return listenFailure(`${where} for STUN`, failure, {
    EACCES: 'ports below 1024 need privileges; choose others with --stun-port',
    EADDRNOTAVAIL: 'it has to be an address of this host',
  });
}

/** Asked for each diverted answer, which are few: a host's addresses change. */
function isOwn(address: string): boolean {
  const entries = Object.values(networkInterfaces()).flatMap((found) => found ?? []);
  return entries.some((entry) => sourceAddress(entry.address) === address);
}

/** A wildcard says nothing about where the server is reached. */
function known(address: string): string | undefined {
  return address === '0.0.0.0' || address === '::' ? undefined : address;
}

/** A port that the system gave for one address and transport may be taken on another. */
const ATTEMPTS = 16;
