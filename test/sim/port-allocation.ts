import assert from 'node:assert';
import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Instant } from '../../src/core/machine.ts';
import type { Allocation } from './nat-behavior.ts';
import type { EndpointTable } from './packet.ts';
import type { Random } from './random.ts';

export const LOWEST_PORT = 1024;
export const HIGHEST_PORT = 65_535;
const PORTS = HIGHEST_PORT - LOWEST_PORT + 1;

/** Whether a live mapping holds this external endpoint. */
export type IsTaken = (external: Endpoint) => boolean;

/** Chooses the external port of each new mapping of one transport. */
export class PortAllocator {
  readonly #allocation: Allocation;
  readonly #endpoints: EndpointTable;
  readonly #random: Random;
  #next: number;
  #lastAt: Instant = 0;

  constructor(allocation: Allocation, endpoints: EndpointTable, random: Random) {
    this.#allocation = allocation;
    this.#endpoints = endpoints;
    this.#random = random;
    this.#next = random.integer(10_000, 50_000);
  }

  allocate(internal: Endpoint, address: string, isTaken: IsTaken, now: Instant): Endpoint {
    switch (this.#allocation.kind) {
      case 'preserving':
        return this.#preserve(internal, address, isTaken);
      case 'sequential':
        return this.#successor(address, isTaken, this.#allocation, now);
      case 'random':
        return this.#anyFree(address, isTaken);
    }
  }

  #preserve(internal: Endpoint, address: string, isTaken: IsTaken): Endpoint {
    const same = this.#endpoints.at(address, internal.port);
    return isTaken(same) ? this.#anyFree(address, isTaken) : same;
  }

  #successor(
    address: string,
    isTaken: IsTaken,
    { step, foreignPerSecond }: Extract<Allocation, { kind: 'sequential' }>,
    now: Instant,
  ): Endpoint {
    const foreign = this.#random.poisson((foreignPerSecond * (now - this.#lastAt)) / 1000);
    this.#lastAt = now;
    this.#advance(step * foreign);
    for (let tries = 0; tries < PORTS; tries++) {
      const candidate = this.#endpoints.at(address, this.#next);
      this.#advance(step);
      if (!isTaken(candidate)) return candidate;
    }
    assert.fail('every external port is taken');
  }

  #advance(ports: number): void {
    const offset = (this.#next - LOWEST_PORT + ports) % PORTS;
    this.#next = LOWEST_PORT + (offset < 0 ? offset + PORTS : offset);
  }

  #anyFree(address: string, isTaken: IsTaken): Endpoint {
    for (let tries = 0; tries < 64 * PORTS; tries++) {
      const candidate = this.#endpoints.at(address, this.#random.integer(LOWEST_PORT, HIGHEST_PORT));
      if (!isTaken(candidate)) return candidate;
    }
    assert.fail('every external port is taken');
  }
}
