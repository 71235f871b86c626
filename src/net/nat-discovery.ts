import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { familyOf, type Endpoint } from '../core/endpoint.ts';
import { LIMITS } from '../core/limits.ts';
import { UNMEASURED, type NatProfile, type TransportProfile } from '../core/nat/behavior.ts';
import type { Candidate, Transport } from '../core/punch/candidate.ts';
import type { StunCredentials } from '../core/stun/request.ts';
import type { Clock } from './clock.ts';
import { TcpDiscoverer } from './discover-tcp.ts';
import { UdpDiscoverer, type DatagramPort, type OpenDatagramPort } from './discover-udp.ts';

/** What a registration says of the deployment's STUN servers. */
export interface StunAccess extends StunCredentials {
  /** The primary address's two ports, then the second address's. */
  readonly udp: readonly Endpoint[];
  readonly tcp: readonly Endpoint[];
}

export interface NatDiscoveryOptions {
  /** The UDP socket that will be used. */
  readonly datagrams: DatagramPort;
  /** Opens another socket, for the tests that need one which has contacted nobody. */
  readonly freshDatagrams: OpenDatagramPort;
  readonly stun: StunAccess;
  /** Addresses of this host's interfaces. */
  readonly localAddresses: readonly string[];
  readonly clock: Clock;
}

/** All that is known by now; candidates are server-reflexive and attested. */
export interface Discovery {
  readonly udp: { readonly profile: TransportProfile; readonly candidates: Candidate[] };
  readonly tcp: {
    readonly profile: TransportProfile;
    readonly candidates: Candidate[];
    /** The local port whose mapping is held; simultaneous opens dial from it. `undefined` while none is. */
    readonly heldPort: number | undefined;
  };
}

interface NatDiscoveryEvents {
  /** A mapping, new or freshly attested. */
  mapped: [transport: Transport, candidate: Candidate];
  /** The profile says something new; `complete` once nothing more is awaited or 1.5 s have passed. */
  profile: [transport: Transport, profile: TransportProfile, complete: boolean];
}

/**
 * Measures the NATs on the way out, on the very sockets that will be used, and keeps their mappings and attestations
 * fresh. Both transports are measured at once; neither waits for the other.
 */
export class NatDiscovery extends EventEmitter<NatDiscoveryEvents> {
  readonly #clock: Clock;
  readonly #udp: UdpDiscoverer;
  readonly #tcp: TcpDiscoverer;
  #profile: NatProfile = { version: 0, udp: UNMEASURED, tcp: UNMEASURED };

  constructor({ datagrams, freshDatagrams, stun, localAddresses, clock }: NatDiscoveryOptions) {
    super();
    this.#clock = clock;
    const { username, key } = stun;
    const common = { credentials: { username, key }, localAddresses, random };
    const family = familyOf(datagrams.address);
    const reachable = (servers: readonly Endpoint[]) =>
      servers.filter((server) => familyOf(server) === family);
    this.#udp = new UdpDiscoverer({
      main: datagrams,
      openFresh: freshDatagrams,
      machine: { ...common, servers: reachable(stun.udp) },
      clock,
      onFinding: (finding) => this.#found('udp', finding),
    });
    this.#tcp = new TcpDiscoverer({
      machine: { ...common, servers: reachable(stun.tcp) },
      clock,
      onFinding: (finding) => this.#found('tcp', finding),
    });
  }

  start(): void {
    this.#udp.start();
    this.#tcp.start();
  }

  /** Measures again from the beginning, as after a change of network. What was known stays until it is contradicted. */
  refresh(): void {
    this.start();
  }

  /** The version grows with everything new that is learnt. */
  get profile(): NatProfile {
    return this.#profile;
  }

  /** Candidates of both transports whose attestation is valid, the newest of each transport first. */
  get candidates(): Candidate[] {
    return this.#candidates(USABLE_MS);
  }

  get heldPort(): number | undefined {
    return this.#tcp.heldPort;
  }

  get current(): Discovery {
    const { udp, tcp } = this.#profile;
    return {
      udp: { profile: udp, candidates: this.#udp.candidates(USABLE_MS) },
      tcp: { profile: tcp, candidates: this.#tcp.candidates(USABLE_MS), heldPort: this.heldPort },
    };
  }

  /** Candidates whose attestation has at least a third of its life left; asks for fresh ones first where needed. */
  async attested(): Promise<Candidate[]> {
    const isStale = (transport: Transport) =>
      this.#profile[transport].reachable === true &&
      !this.#candidates(FRESH_MS).some((candidate) => candidate.transport === transport);
    const stale = (['udp', 'tcp'] as const).filter(isStale);
    if (stale.includes('udp')) this.#udp.refresh();
    if (stale.includes('tcp')) this.#tcp.refresh();
    const giveUpAt = this.#clock.now() + ANSWER_MS;
    while (stale.some(isStale) && this.#clock.now() < giveUpAt) {
      await this.#mappedOrAfter(giveUpAt - this.#clock.now());
    }
    return this.#candidates(FRESH_MS);
  }

  /** The sockets given stay open; the held port is let go. */
  close(): void {
    this.#udp.close();
    this.#tcp.close();
    this.removeAllListeners();
  }

  #candidates(maxAgeMs: number): Candidate[] {
    return [...this.#udp.candidates(maxAgeMs), ...this.#tcp.candidates(maxAgeMs)];
  }

  #found(transport: Transport, finding: Finding): void {
    if (finding.type === 'mapped') {
      this.emit('mapped', transport, finding.candidate);
      return;
    }
    const version = this.#profile.version + 1;
    this.#profile = { ...this.#profile, version, [transport]: finding.profile };
    this.emit('profile', transport, finding.profile, finding.complete);
  }

  #mappedOrAfter(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.off('mapped', done);
        resolve();
      };
      const cancel = this.#clock.setTimer(done, ms);
      this.on('mapped', done);
    });
  }
}

type Finding =
  | { readonly type: 'mapped'; readonly candidate: Candidate }
  | { readonly type: 'profile'; readonly profile: TransportProfile; readonly complete: boolean };

function random(length: number): Uint8Array {
  return new Uint8Array(randomBytes(length));
}

/** An attestation travels a little before it is judged, by a clock that is not ours. */
const USABLE_MS = LIMITS.attestationLifetimeMs - 10_000;
const FRESH_MS = 40_000;
/** How long `attested` waits for a server's answer. */
const ANSWER_MS = 1_000;
