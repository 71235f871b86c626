import type { Endpoint } from '../../core/endpoint.ts';
import type { Instant } from '../../core/machine.ts';
import type { MappingGrant, MappingRequest } from '../../core/portmap/mapping.ts';
import { SallyportError } from '../../core/errors.ts';
import type { Clock } from '../clock.ts';
import type { PortMapper } from './mapper.ts';

interface LeaseOptions {
  readonly mapper: PortMapper;
  readonly request: MappingRequest;
  readonly clock: Clock;
  /** The router gave another endpoint than before. */
  readonly onMoved: () => void;
  /** It ran out, since the router no longer renews it. */
  readonly onLost: () => void;
}

/** One port of the router's that leads here: renewed when half its time has gone by, and given back. */
export class Lease {
  readonly #options: LeaseOptions;
  #grant: MappingGrant;
  #endsAt: Instant;
  #cancelRenewal: (() => void) | undefined;
  #renewing: Promise<void> | undefined;
  #released = false;

  private constructor(options: LeaseOptions, grant: MappingGrant) {
    this.#options = options;
    this.#grant = grant;
    this.#endsAt = this.#scheduled(grant);
  }

  /** Fails like `PortMapper.map`. It isn't aborted, so that no port stays mapped that nobody knows of. */
  static async take(options: LeaseOptions): Promise<Lease> {
    return new Lease(options, await granted(options.mapper, options.request));
  }

  /** By the router's own word. */
  get external(): Endpoint {
    return this.#grant.external;
  }

  /** Asks again now, as where the mapping seems to be gone. */
  async renew(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined));
    await this.#renewing;
  }

  async #renew(): Promise<void> {
    if (this.#released) return;
    this.#cancelRenewal?.();
    try {
      const { mapper, onMoved } = this.#options;
      const before = this.external;
      this.#grant = await granted(mapper, this.#current());
      this.#endsAt = this.#scheduled(this.#grant);
      const { address, port } = this.external;
      if (address !== before.address || port !== before.port) onMoved();
    } catch {
      this.#renewLater();
    }
  }

  async release(): Promise<void> {
    this.#released = true;
    this.#cancelRenewal?.();
    await this.#renewing; // else the router would map anew what it was just told to forget
    const signal = AbortSignal.timeout(RELEASE_MS);
    await this.#options.mapper.unmap(this.#current(), signal).catch(() => {}); // it runs out by itself
  }

  /** Notes the renewal of a fresh grant; returns when the grant ends. */
  #scheduled({ lifetimeSeconds }: MappingGrant): Instant {
    const lifetimeMs = lifetimeSeconds * 1_000;
    this.#renewIn(lifetimeMs / 2);
    return this.#options.clock.now() + lifetimeMs;
  }

  /** After half of what is left (RFC 6887 §11.2.1). */
  #renewLater(): void {
    const leftMs = this.#endsAt - this.#options.clock.now();
    if (leftMs > SHORTEST_MS) return this.#renewIn(leftMs / 2);
    this.#released = true;
    this.#options.onLost();
  }

  #renewIn(ms: number): void {
    if (this.#released) return;
    const delay = Math.max(SHORTEST_MS, ms);
    this.#cancelRenewal = this.#options.clock.setTimer(() => void this.renew(), delay);
  }

  #current(): MappingRequest {
    return { ...this.#options.request, externalPort: this.external.port };
  }
}

/** @throws SallyportError also for a grant of nothing */
async function granted(mapper: PortMapper, request: MappingRequest): Promise<MappingGrant> {
  const grant = await mapper.map(request, AbortSignal.timeout(MAP_MS));
  if (grant.external.port === 0 || grant.lifetimeSeconds === 0) {
    throw new SallyportError('UNSUPPORTED', 'the router granted no port');
  }
  return grant;
}

const SHORTEST_MS = 1_000;
const RELEASE_MS = 1_000;
const MAP_MS = 5_000;
