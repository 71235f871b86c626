import { EventEmitter } from 'node:events';
import { familyOfAddress, type Family } from '../src/core/address.ts';
import { familyOf, sameEndpoint, type Endpoint } from '../src/core/endpoint.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { NatProfile, TransportProfile } from '../src/core/nat/behavior.ts';
import type { NewMapping } from '../src/core/nat/seen-candidates.ts';
import type { Candidate, Transport } from '../src/core/punch/candidate.ts';
import { FloodBudget } from '../src/core/punch/flood-budget.ts';
import { ProbeBudget } from '../src/core/punch/probe-budget.ts';
import type { StunService } from '../src/core/punch/sampler.ts';
import { SAMPLE_MS } from '../src/core/punch/prediction.ts';
import { isSequential, type PathChoice } from '../src/core/punch/situation.ts';
import type { Clock } from '../src/net/clock.ts';
import { advertisedAddresses, recentHostAddresses } from '../src/net/interfaces.ts';
import type { NatDiscovery } from '../src/net/nat-discovery.ts';
import { PortMapping, type PortMappingReport } from '../src/net/port-mapping.ts';
import type { StunAccess } from '../src/net/stun-access.ts';
import type { UdpSocket } from '../src/net/udx.ts';
import { FamilyPorts } from './family-ports.ts';
import { NatMeasurements, NOTHING_MEASURED } from './nat-measurements.ts';
import { TaggedConnections, type TaggedConnection } from './tagged-connections.ts';

/** A session that shares the UDP socket: takes the datagrams that are its own. */
export interface DatagramOwner {
  owns(bytes: Uint8Array): boolean;
  receive(bytes: Uint8Array, from: Endpoint): void;
}

export interface NetworkOptions {
  /** Asks the router to map our ports. @default true */
  readonly mapPorts?: boolean | undefined;
}

interface NetworkEvents {
  /** Our candidates or the profile changed. */
  changed: [];
  /** The NAT in front of us has another public address than before. */
  moved: [];
}

/**
 * What this peer has of the network, for each family: one UDP socket for everything, one TCP listener, the port that
 * its TCP STUN connection holds, and what was measured of the NATs on those very sockets.
 */
export class Network extends EventEmitter<NetworkEvents> {
  /** One for all sessions: what may be probed in great numbers, and when. */
  readonly floods = new FloodBudget();
  readonly probes = new ProbeBudget();
  #clock: Clock;
  readonly #ports: Readonly<Record<Family, FamilyPorts | undefined>> & { readonly 4: FamilyPorts };
  readonly #measurements: NatMeasurements;
  #owners = new Set<DatagramOwner>();
  readonly #connections: TaggedConnections;
  #onLoopback = false;
  #portMapping: PortMapping;
  #mayMapPorts: boolean;

  private constructor(
    clock: Clock,
    { mapPorts = true }: NetworkOptions,
    over4: FamilyPorts,
    over6: FamilyPorts | undefined,
    connections: TaggedConnections,
  ) {
    super();
    this.#clock = clock;
    this.#mayMapPorts = mapPorts;
    this.#ports = { 4: over4, 6: over6 };
    this.#connections = connections;
    this.#measurements = new NatMeasurements({ clock, sockets: { 4: over4.udp, 6: over6?.udp } });
    this.#measurements.on('changed', () => this.emit('changed')).on('moved', () => this.emit('moved'));
    for (const { udp } of this.#opened) udp.on('datagram', (bytes, from) => this.#route(bytes, from));
    this.#portMapping = new PortMapping({
      clock,
      datagrams: over4.udp,
      tcpPort: over4.tcpPort,
      accept: (tag, accept) => this.accept(tag, ({ socket }) => accept(socket)),
      publicAddresses: () => this.discovery?.profile.udp.publicAddresses ?? [],
    });
    this.#portMapping.on('changed', () => this.emit('changed'));
  }

  /** Without IPv6 where the system has none. */
  static async open(clock: Clock, options: NetworkOptions = {}): Promise<Network> {
    const connections = new TaggedConnections();
    const openPorts = (family: Family, ports: { udp: number; tcp: number }) =>
      FamilyPorts.open(family, ports, (socket, held) => void connections.identify(socket, held));
    const over4 = await openPorts(4, { udp: 0, tcp: 0 });
    const over6 = await openPorts(6, { udp: over4.udpPort, tcp: over4.tcpPort }).catch(() =>
      openPorts(6, { udp: 0, tcp: 0 }).catch(() => undefined),
    );
    return new Network(clock, options, over4, over6, connections);
  }

  /** The UDP socket for IPv4. */
  get udp(): UdpSocket {
    return this.#ports[4].udp;
  }

  /** The UDP socket for a family; `undefined` where the system has no IPv6. */
  udpOf(family: Family): UdpSocket | undefined {
    return this.#ports[family]?.udp;
  }

  get #opened(): FamilyPorts[] {
    return [this.#ports[4], this.#ports[6]].filter((ports) => ports !== undefined);
  }

  /** True where the rendezvous is on this very host: then, and only then, loopback addresses mean anything to a peer. */
  get onLoopback(): boolean {
    return this.#onLoopback;
  }

  /**
   * Measures the NATs by the deployment's STUN servers; again with new ones when called again.
   * @param witnesses UDP STUN servers of the relays that there are by then
   */
  discover(stun: StunAccess, onLoopback: boolean, witnesses: () => readonly Endpoint[]): void {
    this.#onLoopback = onLoopback;
    if (!this.#measurements.start(stun, witnesses)) return this.#portMapping.refresh();
    // A deployment on this very host says nothing about the world outside of the router.
    if (!onLoopback && this.#mayMapPorts) this.#portMapping.start(stun);
  }

  /** Of IPv4. */
  get discovery(): NatDiscovery | undefined {
    return this.#measurements.discoveryOf(4);
  }

  /** The servers that measure, of both families. */
  get stunServers(): Readonly<Record<Transport, readonly Endpoint[]>> {
    return this.#measurements.servers;
  }

  /** Where a fresh socket's mapping can be asked for. */
  get stun(): StunService | undefined {
    return this.#measurements.stun;
  }

  heldPortOf(family: Family): number | undefined {
    return this.#measurements.discoveryOf(family)?.heldPort;
  }

  get profile(): NatProfile {
    const { profile } = this.#measurements;
    return { ...profile, ...this.#withMappedPorts(profile) };
  }

  /** Since the NATs were diagnosed; `undefined` before they are. */
  get ageSeconds(): number | undefined {
    return this.#measurements.ageSeconds;
  }

  #withMappedPorts(profile: NatProfile): Pick<NatProfile, 'udp' | 'tcp'> {
    const withMapping = (transport: Transport): TransportProfile =>
      this.#portMapping.isVerified(transport)
        ? { ...profile[transport], portMapped: true }
        : profile[transport];
    return { udp: withMapping('udp'), tcp: withMapping('tcp') };
  }

  /** What the router says to requests for ports; `null` where none maps any. */
  get portMapping(): PortMappingReport | null {
    return this.#portMapping.report;
  }

  /** Candidates that were seen or reached from outside, as attested by the rendezvous: what may travel in the offer itself. */
  get publicCandidates(): Candidate[] {
    return [...this.#measurements.candidates, ...this.#portMapping.candidates];
  }

  /** Mappings over IPv4 that a NAT which counts its ports has just made: they show where it stands. */
  get samples(): NewMapping[] {
    const { profile } = this;
    const mappings = this.#measurements.newMappings(SAMPLE_MS);
    return mappings.filter(({ candidate: { transport } }) => isSequential(profile[transport]));
  }

  /** What a peer may know of us before it has proven the session's keys, as far as these kinds of path need it. */
  publicFace(kinds: readonly PathChoice[]): { candidates: Candidate[]; profile: NatProfile } {
    const candidates = this.publicCandidates.filter(({ transport }) => kinds.includes(transport));
    const direct = kinds.some((kind) => kind !== 'relay');
    return {
      candidates: candidates.slice(0, LIMITS.candidates),
      profile: direct ? this.profile : NOTHING_MEASURED,
    };
  }

  /** Addresses of this host: for the peer's eyes only. The TCP ones name the listener's port. */
  get hostCandidates(): Candidate[] {
    const { publicCandidates } = this;
    const seen = publicCandidates.map(({ endpoint }) => endpoint.address);
    const addresses = advertisedAddresses(recentHostAddresses(), seen).map(({ address }) => address);
    const candidates = [...addresses, ...(this.#onLoopback ? ['127.0.0.1'] : [])].flatMap((address) => {
      const ports = this.#ports[familyOfAddress(address)];
      if (!ports) return [];
      return [hostCandidate('udp', address, ports.udpPort), hostCandidate('tcp', address, ports.tcpPort)];
    });
    // What isn't translated is known already, and attested.
    return candidates.filter(
      ({ transport, endpoint }) =>
        !publicCandidates.some(
          (known) => known.transport === transport && sameEndpoint(known.endpoint, endpoint),
        ),
    );
  }

  /** What was measured promised a direct path, and none came: it is measured again. */
  suspect(): void {
    this.#measurements.suspect();
  }

  /** Resolves when the UDP mapping is known, or after `capMs`: connecting doesn't wait for a full diagnosis. */
  async mapped(capMs: number): Promise<void> {
    const family = recentHostAddresses().some((address) => address.family === 4) ? 4 : 6;
    const known = () =>
      this.publicCandidates.some(
        ({ transport, endpoint }) => transport === 'udp' && familyOf(endpoint) === family,
      );
    await this.#until(known, capMs);
  }

  /** Resolves when both transports are fully measured and the router has been asked for ports, or after `capMs`. */
  async diagnosed(capMs: number, signal?: AbortSignal): Promise<void> {
    const isRouterAsked = () => this.#onLoopback || !this.#mayMapPorts || this.#portMapping.settled;
    const known = () => this.#measurements.complete && isRouterAsked();
    await this.#until(known, capMs, signal);
  }

  /**
   * Resolves when our mappings are known and freshly attested, or after `capMs`.
   * @param anew asks for them whatever is known, as after a loss that may be a NAT's
   */
  refreshed(capMs: number, anew = false): Promise<void> {
    return this.#measurements.refreshed(capMs, anew);
  }

  /** Datagrams that `owner` recognises go there. Returns how to stop it. */
  own(owner: DatagramOwner): () => void {
    this.#owners.add(owner);
    return () => this.#owners.delete(owner);
  }

  /** Incoming connections that begin with `tag` go to `accept`. Returns how to stop it. */
  accept(tag: Uint8Array, accept: (connection: TaggedConnection) => void): () => void {
    return this.#connections.accept(tag, accept);
  }

  /** Listens on the held port as well, for as long as anybody asks; no dial can leave from it meanwhile. */
  async listenHeld(family: Family): Promise<void> {
    await this.#ports[family]?.listenHeld(this.heldPortOf(family));
  }

  stopListeningHeld(family: Family): void {
    this.#ports[family]?.stopListeningHeld();
  }

  async close(): Promise<void> {
    this.#measurements.close();
    await this.#portMapping.close();
    await Promise.all(this.#opened.map((ports) => ports.close()));
  }

  #route(bytes: Uint8Array, from: Endpoint): void {
    for (const owner of this.#owners) {
      if (owner.owns(bytes)) return owner.receive(Uint8Array.from(bytes), from);
    }
  }

  /** Asks again at every change, for `capMs` at most. */
  async #until(known: () => boolean, capMs: number, signal?: AbortSignal): Promise<void> {
    const deadline = this.#clock.now() + capMs;
    const stopped = () => signal?.aborted === true;
    while (!known() && this.#clock.now() < deadline && !stopped()) {
      await this.#changedOrAfter(deadline - this.#clock.now());
    }
  }

  async #changedOrAfter(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = () => {
        cancel();
        this.off('changed', done);
        resolve();
      };
      const cancel = this.#clock.setTimer(done, ms);
      this.once('changed', done);
    });
  }
}

function hostCandidate(transport: Transport, address: string, port: number): Candidate {
  return { type: 'host', transport, endpoint: { address, port } };
}
