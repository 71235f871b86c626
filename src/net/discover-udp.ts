import type { Endpoint } from '../core/endpoint.ts';
import {
  UdpDiscovery,
  type UdpDiscoveryInput,
  type UdpDiscoveryOptions,
  type UdpDiscoveryOutput,
} from '../core/nat/udp-discovery.ts';
import type { NewMapping } from '../core/nat/seen-candidates.ts';
import type { Candidate } from '../core/punch/candidate.ts';
import type { Clock } from './clock.ts';
import { Driver } from './driver.ts';
import { quietPort } from './quiet-port.ts';

/** A UDP socket that sends and hands over raw datagrams. */
export interface DatagramPort {
  /** Where it is bound. */
  readonly address: Endpoint;
  send(bytes: Uint8Array, to: Endpoint): void;
  on(event: 'datagram', listener: (bytes: Buffer, from: Endpoint) => void): unknown;
  off(event: 'datagram', listener: (bytes: Buffer, from: Endpoint) => void): unknown;
}

export interface FreshDatagramPort extends DatagramPort {
  close(): unknown;
}

/** Opens a socket that has contacted nobody, on the port given, or on any. */
export type OpenDatagramPort = (port?: number) => Promise<FreshDatagramPort>;

/** What a discovery tells; the socket work stays inside. */
export type Finding<Output extends { type: string }> = Extract<Output, { type: 'mapped' | 'profile' }>;

export interface UdpDiscovererOptions {
  readonly main: DatagramPort;
  readonly openFresh: OpenDatagramPort;
  readonly machine: Omit<UdpDiscoveryOptions, 'localPort'>;
  readonly clock: Clock;
  onFinding(finding: Finding<UdpDiscoveryOutput>): void;
}

/** Runs UDP discovery on the socket that will be used, and on fresh ones of its own. */
export class UdpDiscoverer {
  readonly #options: UdpDiscovererOptions;
  readonly #machine: UdpDiscovery;
  readonly #driver: Driver<UdpDiscoveryInput, UdpDiscoveryOutput>;
  /** Opening or open; the machine lets it go before it asks for another. */
  #fresh: Promise<FreshDatagramPort> | undefined;
  #closed = false;

  constructor(options: UdpDiscovererOptions) {
    this.#options = options;
    this.#machine = new UdpDiscovery({ ...options.machine, localPort: options.main.address.port });
    this.#driver = new Driver(this.#machine, options.clock, (output) => this.#perform(output));
    options.main.on('datagram', this.#onMainDatagram);
  }

  start(): void {
    this.#driver.handle({ type: 'start' });
  }

  refresh(): void {
    this.#driver.handle({ type: 'refresh' });
  }

  candidates(maxAgeMs: number): Candidate[] {
    return this.#machine.candidates(this.#options.clock.now(), maxAgeMs);
  }

  get newMapping(): NewMapping | undefined {
    return this.#machine.newMapping;
  }

  close(): void {
    this.#closed = true;
    this.#driver.stop();
    this.#options.main.off('datagram', this.#onMainDatagram);
    this.#release();
  }

  readonly #onMainDatagram = (bytes: Buffer, from: Endpoint): void => {
    if (this.#machine.owns(bytes)) this.#driver.handle({ type: 'datagram', socket: 'main', bytes, from });
  };

  #perform(output: UdpDiscoveryOutput): void {
    switch (output.type) {
      case 'send':
        if (output.socket === 'main') this.#options.main.send(output.bytes, output.to);
        else this.#sendFresh(output.bytes, output.to);
        break;
      case 'release':
        this.#release();
        break;
      case 'mapped':
      case 'profile':
        this.#options.onFinding(output);
        break;
    }
  }

  #sendFresh(bytes: Uint8Array, to: Endpoint): void {
    this.#fresh ??= this.#openFresh();
    const fresh = this.#fresh;
    fresh.then(
      (socket) => fresh === this.#fresh && socket.send(bytes, to),
      () => {}, // told to the machine where it was opened
    );
  }

  #openFresh(): Promise<FreshDatagramPort> {
    const { openFresh } = this.#options;
    const opening = openFresh(quietPort()).catch(() => openFresh());
    opening.then(
      (socket) =>
        socket.on('datagram', (bytes, from) =>
          this.#driver.handle({ type: 'datagram', socket: 'filtering', bytes, from }),
        ),
      () => this.#closed || this.#driver.handle({ type: 'no-filtering-socket' }),
    );
    return opening;
  }

  #release(): void {
    const fresh = this.#fresh;
    this.#fresh = undefined;
    fresh?.then(
      (socket) => socket.close(),
      () => {}, // it never opened
    );
  }
}
