import type { Socket } from 'node:net';
import type { Endpoint } from '../core/endpoint.ts';
import type { DiscoveryOptions } from '../core/nat/discovery.ts';
import { TcpDiscovery, type TcpDiscoveryInput, type TcpDiscoveryOutput } from '../core/nat/tcp-discovery.ts';
import type { NewMapping } from '../core/nat/seen-candidates.ts';
import type { Candidate } from '../core/punch/candidate.ts';
import type { Clock } from './clock.ts';
import type { Finding } from './discover-udp.ts';
import { Driver } from './driver.ts';
import { StunSockets } from './stun-sockets.ts';
import { dialTcp, errnoOf } from './tcp.ts';

export interface TcpDiscovererOptions {
  readonly machine: DiscoveryOptions;
  readonly clock: Clock;
  onFinding(finding: Finding<TcpDiscoveryOutput>): void;
}

/** Runs TCP discovery over sockets that share one local port, and keeps the one that holds its mapping. */
export class TcpDiscoverer {
  readonly #options: TcpDiscovererOptions;
  readonly #machine: TcpDiscovery;
  readonly #driver: Driver<TcpDiscoveryInput, TcpDiscoveryOutput>;
  /** Open ones by the machine's number. */
  readonly #sockets = new StunSockets((event) => this.#driver.handle(event));
  /** Dials under way. */
  readonly #dials = new Map<number, AbortController>();

  constructor(options: TcpDiscovererOptions) {
    this.#options = options;
    this.#machine = new TcpDiscovery(options.machine);
    this.#driver = new Driver(this.#machine, options.clock, (output) => this.#perform(output));
  }

  /** `undefined` while no connection holds a port. */
  get heldPort(): number | undefined {
    return this.#machine.heldPort || undefined;
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
    this.#driver.stop();
    for (const connection of [...this.#sockets.connections, ...this.#dials.keys()]) this.#reset(connection);
  }

  #perform(output: TcpDiscoveryOutput): void {
    switch (output.type) {
      case 'connect':
        void this.#connect(output.connection, output.to, output.localPort);
        break;
      case 'write':
        this.#sockets.write(output.connection, output.bytes);
        break;
      case 'reset':
        this.#reset(output.connection);
        break;
      case 'mapped':
      case 'profile':
        this.#options.onFinding(output);
        break;
    }
  }

  async #connect(connection: number, remote: Endpoint, localPort: number): Promise<void> {
    const dial = new AbortController();
    this.#dials.set(connection, dial);
    try {
      const socket = await dialTcp({ remote, localPort, signal: dial.signal });
      this.#dials.delete(connection);
      this.#opened(connection, socket);
    } catch (error) {
      // A dial that the machine gave up is no longer there.
      if (this.#dials.delete(connection)) {
        this.#driver.handle({ type: 'closed', connection, code: errnoOf(error) });
      }
    }
  }

  #opened(connection: number, socket: Socket): void {
    this.#sockets.add(connection, socket);
    this.#driver.handle({ type: 'connected', connection, localPort: socket.localPort ?? 0 });
  }

  #reset(connection: number): void {
    const dial = this.#dials.get(connection);
    this.#dials.delete(connection);
    dial?.abort();
    this.#sockets.reset(connection);
  }
}
