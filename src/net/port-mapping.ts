import { randomInt } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { scopeOf } from '../core/address.ts';
import { familyOf, formatEndpoint } from '../core/endpoint.ts';
import { asSallyportError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Instant } from '../core/machine.ts';
import type { PortMappingProtocol } from '../core/portmap/mapping.ts';
import type { Candidate, Transport } from '../core/punch/candidate.ts';
import type { Clock } from './clock.ts';
import type { DatagramPort } from './discover-udp.ts';
import type { StunAccess } from './stun-access.ts';
import { gatewayLink, portMappers } from './portmap/find.ts';
import { Lease } from './portmap/lease.ts';
import type { GatewayLink, PortMapper } from './portmap/mapper.ts';
import { verifyTcp, verifyUdp, type AcceptTagged, type Proof } from './portmap/verify.ts';

export interface PortMappingOptions {
  readonly clock: Clock;
  /** The UDP socket whose port is to be mapped. */
  readonly datagrams: DatagramPort;
  /** The port of the TCP listener to be mapped. */
  readonly tcpPort: number;
  /** Connections to that listener, by what they begin with. */
  readonly accept: AcceptTagged;
  /** What STUN servers see this host at; empty until measured. */
  publicAddresses(): readonly string[];
}

/** What the router said, and whether it is true. */
export interface PortMappingReport {
  readonly protocol: PortMappingProtocol;
  /** By the router's word; `null` where it refused. */
  readonly externalAddress: string | null;
  readonly ports: Readonly<Record<Transport, number | null>>;
  /** The deployment's server reached us there. */
  readonly verified: Readonly<Record<Transport, boolean>>;
  /** Why it is of no use, where it isn't. */
  readonly note: string | null;
}

interface PortMappingEvents {
  /** What is mapped, or verified, has changed. */
  changed: [];
}

interface Mapped {
  readonly lease: Lease;
  proof: (Proof & { readonly at: Instant }) | undefined;
  /** How often in a row it could not be reached. */
  failures: number;
  cancelCheck: (() => void) | undefined;
}

/**
 * Asks the router for a port of its own that leads to this host, by PCP (RFC 6887), NAT-PMP (RFC 6886) or UPnP-IGD,
 * whichever it speaks, and has the deployment's server try it. A mapping counts once it was reached from outside; it is
 * tried again as long as it lives, renewed at half its life, and given back at the end. Nobody waits for any of this.
 */
export class PortMapping extends EventEmitter<PortMappingEvents> {
  readonly #options: PortMappingOptions;
  #stun: StunAccess | undefined;
  /** To the router that was asked last. */
  #link: GatewayLink | undefined;
  #mapper: PortMapper | undefined;
  #mapped = new Map<Transport, Mapped>();
  #refusal: { readonly protocol: PortMappingProtocol; readonly note: string } | undefined;
  #run: AbortController | undefined;
  #running: Promise<void> = Promise.resolve();
  #cancelRetry: (() => void) | undefined;
  #settled = false;

  constructor(options: PortMappingOptions) {
    super();
    this.#options = options;
  }

  /** Begins, or begins anew in another network. Mappings are verified by these servers. */
  start(stun: StunAccess): void {
    const ending = this.#stop();
    this.#stun = stun;
    const run = new AbortController();
    this.#run = run;
    this.#settled = false;
    this.#running = ending.then(() => this.#begin(run.signal));
  }

  /** The way out was lost meanwhile, as where the router was restarted, which may have forgotten what it granted, or leads by another router. */
  refresh(): void {
    if (this.#run && this.#stun) void this.#refresh(this.#run.signal, this.#stun);
  }

  async #refresh(signal: AbortSignal, stun: StunAccess): Promise<void> {
    const link = await gatewayLink(signal).catch(() => undefined);
    if (signal.aborted) return;
    const isOther = link && (link.gateway !== this.#link?.gateway || link.host !== this.#link.host);
    if (isOther) return this.start(stun);
    for (const [transport, { lease }] of this.#mapped) {
      void lease.renew().then(() => this.#checkNow(transport));
    }
  }

  /** True once the router has answered and was put to the test, or didn't answer. */
  get settled(): boolean {
    return this.#settled;
  }

  /** `null` where no router maps ports. */
  get report(): PortMappingReport | null {
    const protocol = this.#mapper?.protocol ?? this.#refusal?.protocol;
    if (protocol === undefined) return null;
    const port = (transport: Transport) => this.#mapped.get(transport)?.lease.external.port ?? null;
    return {
      protocol,
      externalAddress: this.#externalAddress ?? null,
      ports: { udp: port('udp'), tcp: port('tcp') },
      verified: { udp: this.isVerified('udp'), tcp: this.isVerified('tcp') },
      note: this.#note,
    };
  }

  isVerified(transport: Transport): boolean {
    return this.#mapped.get(transport)?.proof !== undefined;
  }

  /** Verified mappings, each with its attestation while that is fresh. */
  get candidates(): Candidate[] {
    return TRANSPORTS.flatMap((transport): Candidate[] => {
      const proof = this.#mapped.get(transport)?.proof;
      if (!proof) return [];
      const isFresh = this.#options.clock.now() - proof.at <= USABLE_MS;
      const attestation = isFresh ? proof.attestation : undefined;
      return [{ type: 'mapped', transport, endpoint: proof.endpoint, attestation }];
    });
  }

  /** Gives the ports back; takes a second at most. */
  async close(): Promise<void> {
    this.removeAllListeners();
    // What the router is told goes over sockets that keep no process alive by themselves.
    let alive: NodeJS.Timeout | undefined;
    const cap = new Promise<void>((resolve) => (alive = setTimeout(resolve, CLOSE_MS)));
    await Promise.race([this.#stop(), cap]);
    clearTimeout(alive);
  }

  get #externalAddress(): string | undefined {
    return [...this.#mapped.values()][0]?.lease.external.address;
  }

  async #stop(): Promise<void> {
    this.#run?.abort();
    this.#cancelRetry?.();
    await this.#running;
    const leases = [...this.#mapped.values()];
    this.#mapped.clear();
    this.#mapper = undefined;
    this.#refusal = undefined;
    for (const { cancelCheck } of leases) cancelCheck?.();
    await Promise.all(leases.map(({ lease }) => lease.release()));
  }

  async #begin(signal: AbortSignal): Promise<void> {
    const search = new AbortController();
    const stopped = AbortSignal.any([signal, search.signal]);
    try {
      this.#link = await gatewayLink(stopped);
      if (!this.#link) return;
      for await (const mapper of portMappers(this.#link, stopped)) {
        if (signal.aborted || (await this.#use(mapper, signal))) return;
      }
    } catch {
      // No router, or none that can be talked to.
    } finally {
      search.abort();
      if (!signal.aborted) this.#conclude(signal);
    }
  }

  /** True where the router granted a UDP port; TCP follows where it can. */
  async #use(mapper: PortMapper, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#take(mapper, 'udp', signal);
    } catch (thrown) {
      this.#refusal ??= { protocol: mapper.protocol, note: asSallyportError(thrown).message };
      return false;
    }
    this.#mapper = mapper;
    await this.#takeMissing(mapper, signal);
    return true;
  }

  /** One port is worth having without the other, which is asked for again later. */
  async #takeMissing(mapper: PortMapper, signal: AbortSignal): Promise<void> {
    for (const transport of TRANSPORTS) {
      if (!this.#mapped.has(transport)) await this.#take(mapper, transport, signal).catch(() => {});
    }
    if (this.#mapped.size < TRANSPORTS.length) this.#retry(signal);
  }

  async #take(mapper: PortMapper, transport: Transport, signal: AbortSignal): Promise<void> {
    const { clock, datagrams, tcpPort } = this.#options;
    const internalPort = transport === 'udp' ? datagrams.address.port : tcpPort;
    // Another port than the NAT would keep: then only this mapping can lead here.
    const externalPort = randomInt(FIRST_PORT, 65_536);
    const lease = await Lease.take({
      mapper,
      request: { transport, internalPort, externalPort, lifetimeSeconds: LIFETIME_SECONDS },
      clock,
      onMoved: () => this.#checkNow(transport),
      onLost: () => this.#lost(transport, signal),
    });
    const mapped: Mapped = { lease, proof: undefined, failures: 0, cancelCheck: undefined };
    this.#mapped.set(transport, mapped);
    if (!signal.aborted) void this.#check(transport, mapped, signal);
  }

  #lost(transport: Transport, signal: AbortSignal): void {
    this.#mapped.get(transport)?.cancelCheck?.();
    this.#mapped.delete(transport);
    this.emit('changed');
    if (this.#mapped.size === 0) this.#mapper = undefined;
    this.#retry(signal);
  }

  #checkNow(transport: Transport): void {
    const mapped = this.#mapped.get(transport);
    if (mapped && this.#run) void this.#check(transport, mapped, this.#run.signal);
  }

  /** Has the mapping tried from outside, and again later: often for UDP, whose attestation has to be fresh. */
  async #check(transport: Transport, mapped: Mapped, signal: AbortSignal): Promise<void> {
    mapped.cancelCheck?.();
    const before = mapped.proof !== undefined;
    const proof = await this.#prove(transport, mapped);
    if (signal.aborted || this.#mapped.get(transport) !== mapped) return;
    mapped.failures = proof ? 0 : mapped.failures + 1;
    if (proof) mapped.proof = { ...proof, at: this.#options.clock.now() };
    else if (mapped.failures >= FAILURES) mapped.proof = undefined;
    if (before && !proof) await mapped.lease.renew(); // a router that restarted has forgotten it
    const isVerified = mapped.proof !== undefined;
    if (isVerified !== before || transport === 'udp') this.emit('changed');
    const again = proof ? CHECK_MS[transport] : mapped.failures <= FAILURES ? RECHECK_MS : IDLE_CHECK_MS;
    const check = () => void this.#check(transport, mapped, signal);
    mapped.cancelCheck?.(); // of a check that ended meanwhile, as where a renewal has moved the port
    mapped.cancelCheck = this.#options.clock.setTimer(check, again);
    this.#settleOnce();
  }

  async #prove(transport: Transport, { lease }: Mapped): Promise<Proof | undefined> {
    const server = this.#stun?.[transport].find((each) => familyOf(each) === 4);
    if (!server || !this.#stun || this.#uselessBecause(lease.external.address) !== undefined)
      return undefined;
    const { clock, datagrams, accept } = this.#options;
    const options = { server, credentials: this.#stun, port: lease.external.port, clock };
    return transport === 'udp' ? verifyUdp(datagrams, options) : verifyTcp(accept, options);
  }

  get #note(): string | null {
    if (this.#mapped.size === 0) return this.#refusal?.note ?? 'the router no longer renews it';
    if (this.isVerified('udp') || this.isVerified('tcp')) return null;
    const address = this.#externalAddress!;
    const endpoint = formatEndpoint({ address, port: [...this.#mapped.values()][0]!.lease.external.port });
    return this.#uselessBecause(address) ?? `nothing that was sent to ${endpoint} from outside arrived here`;
  }

  /** A second NAT outside of the router, as carriers have, is one that nobody asked for a port. */
  #uselessBecause(external: string): string | undefined {
    const scope = scopeOf(external);
    if (scope !== 'public')
      return `the router's outer address ${external} is ${scope}: another NAT lies outside`;
    const seen = this.#options.publicAddresses();
    if (seen.length === 0 || seen.includes(external)) return undefined;
    return `the router's outer address is ${external}, but servers see ${seen[0]}: another NAT lies outside`;
  }

  #conclude(signal: AbortSignal): void {
    if (this.#mapped.size === 0) {
      this.#retry(signal);
      this.#settleOnce(true);
    }
  }

  #retry(signal: AbortSignal): void {
    if (signal.aborted) return;
    const again = () => {
      this.#running = this.#mapper ? this.#takeMissing(this.#mapper, signal) : this.#begin(signal);
    };
    this.#cancelRetry?.();
    this.#cancelRetry = this.#options.clock.setTimer(again, RETRY_MS);
  }

  #settleOnce(nothingMapped = false): void {
    const tested = [...this.#mapped.values()].every(({ proof, failures }) => proof ?? failures > 0);
    if (this.#settled || !(nothingMapped || tested)) return;
    this.#settled = true;
    this.emit('changed');
  }
}

const TRANSPORTS = ['udp', 'tcp'] as const;
/** Long enough to be renewed seldom, short enough to be gone soon after a crash. */
const LIFETIME_SECONDS = 3_600;
const FIRST_PORT = 10_000;
const CLOSE_MS = 1_000;
const RETRY_MS = 600_000;
/** An attestation travels a little before it is judged, by a clock that is not ours. */
const USABLE_MS = LIMITS.attestationLifetimeMs - 10_000;
const CHECK_MS: Readonly<Record<Transport, number>> = { udp: 25_000, tcp: 300_000 };
const RECHECK_MS = 4_000;
const IDLE_CHECK_MS = 300_000;
/** In a row: a single one may be loss. */
const FAILURES = 2;
