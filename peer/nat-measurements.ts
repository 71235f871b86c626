import { EventEmitter } from 'node:events';
import { familyOfAddress, type Family } from '../src/core/address.ts';
import { familyOf, type Endpoint } from '../src/core/endpoint.ts';
import { UNMEASURED, type NatProfile } from '../src/core/nat/behavior.ts';
import type { NewMapping } from '../src/core/nat/seen-candidates.ts';
import type { Candidate, Transport } from '../src/core/punch/candidate.ts';
import type { StunService } from '../src/core/punch/sampler.ts';
import type { Clock } from '../src/net/clock.ts';
import { deferred } from '../src/net/deferred.ts';
import { hostAddresses } from '../src/net/interfaces.ts';
import { NatDiscovery } from '../src/net/nat-discovery.ts';
import type { StunAccess } from '../src/net/stun-access.ts';
import { UdpSocket } from '../src/net/udx.ts';
import { WILDCARD } from '../src/net/wildcard.ts';

interface NatMeasurementsEvents {
  /** Our mappings or the profile changed. */
  changed: [];
  /** The NAT in front of us has another public address than before. */
  moved: [];
}

export interface NatMeasurementsOptions {
  readonly clock: Clock;
  /** Those that sessions use: it is their mappings that count. Without IPv6 where the system has none. */
  readonly sockets: Readonly<Record<Family, UdpSocket | undefined>> & { readonly 4: UdpSocket };
}

export const NOTHING_MEASURED: NatProfile = { version: 0, udp: UNMEASURED, tcp: UNMEASURED };

/**
 * What was measured of the NATs in front of this peer: a discovery for each family that there is something to measure
 * with, made anew whenever the STUN servers or this host's addresses are others, and what they come to together.
 */
export class NatMeasurements extends EventEmitter<NatMeasurementsEvents> {
  readonly #options: NatMeasurementsOptions;
  #discoveries: Partial<Record<Family, NatDiscovery>> = {};
  /** What the profiles of earlier discoveries had come to: versions never fall. */
  #formerVersion = 0;
  /** What `#discoveries` were made for. */
  #access: string | undefined;
  #stun: StunService | undefined;
  #witnesses: () => readonly Endpoint[] = () => [];
  /** Families and transports that are measured in full. */
  #diagnosed = new Set<string>();
  /** Of our UDP mapping over IPv4, by the present discovery. */
  #publicAddress: string | undefined;

  constructor(options: NatMeasurementsOptions) {
    super();
    this.#options = options;
  }

  /**
   * Measures by these servers; what is known by the same ones, from the same addresses, is only refreshed.
   * @returns true where it is measured anew
   */
  start(stun: StunAccess, witnesses: () => readonly Endpoint[]): boolean {
    this.#witnesses = witnesses;
    const localAddresses = hostAddresses().map(({ address }) => address);
    // A registration that came back has the same STUN servers and key: what is held there stays held.
    const access = JSON.stringify([stun, localAddresses]);
    if (access === this.#access) {
      this.#all((discovery) => discovery.refresh());
      return false;
    }
    this.#access = access;
    this.#formerVersion = this.profile.version;
    this.close();
    this.#publicAddress = undefined;
    const over4 = (servers: readonly Endpoint[]) => servers.find((server) => familyOf(server) === 4);
    this.#stun = { servers: { udp: over4(stun.udp), tcp: over4(stun.tcp) }, credentials: stun };
    const { sockets } = this.#options;
    const over6 = measures(6, stun, localAddresses) ? sockets[6] : undefined;
    this.#discoveries = {
      4: this.#measure(4, sockets[4], stun, localAddresses),
      ...(over6 && { 6: this.#measure(6, over6, stun, localAddresses) }),
    };
    this.#all((discovery) => discovery.start());
    return true;
  }

  /** Measures one family's NATs. */
  #measure(
    family: Family,
    datagrams: UdpSocket,
    stun: StunAccess,
    localAddresses: readonly string[],
  ): NatDiscovery {
    const freshDatagrams = async (port = 0) => UdpSocket.open({ host: WILDCARD[family], port });
    const discovery = new NatDiscovery({
      datagrams,
      freshDatagrams,
      stun,
      witnesses: () => this.#witnesses(),
      localAddresses,
      clock: this.#options.clock,
    });
    discovery.on('mapped', (transport, { endpoint }) => {
      const moved = family === 4 && this.#hasMoved(transport, endpoint.address);
      this.emit('changed');
      if (moved) this.emit('moved');
    });
    discovery.on('profile', (transport, _profile, complete) => {
      if (complete) this.#diagnosed.add(`${family} ${transport}`);
      this.emit('changed');
    });
    return discovery;
  }

  #all(act: (discovery: NatDiscovery) => void): void {
    for (const discovery of Object.values(this.#discoveries)) act(discovery);
  }

  /** A NAT that keeps one port for all destinations keeps its address as well, unless it was given another. */
  #hasMoved(transport: Transport, address: string): boolean {
    if (transport !== 'udp') return false;
    const before = this.#publicAddress;
    this.#publicAddress = address;
    const keeps = this.profile.udp.mapping === 'endpoint-independent';
    return keeps && before !== undefined && before !== address;
  }

  /** `undefined` before the first servers are known, and where there is nothing to measure with. */
  discoveryOf(family: Family): NatDiscovery | undefined {
    return this.#discoveries[family];
  }

  /** The servers that measure, of both families. */
  get servers(): Readonly<Record<Transport, readonly Endpoint[]>> {
    const all = Object.values(this.#discoveries).map(({ servers }) => servers);
    return { udp: all.flatMap(({ udp }) => udp), tcp: all.flatMap(({ tcp }) => tcp) };
  }

  /** Where a fresh socket's mapping can be asked for. */
  get stun(): StunService | undefined {
    return this.#stun;
  }

  get profile(): NatProfile {
    const over4 = this.#discoveries[4]?.profile ?? NOTHING_MEASURED;
    const over6 = this.#discoveries[6]?.profile;
    const { ageSeconds } = this;
    return {
      version: this.#formerVersion + over4.version + (over6?.version ?? 0),
      udp: over4.udp,
      tcp: over4.tcp,
      ...(ageSeconds !== undefined && { ageSeconds }),
      ...(over6 && isOfUse(over6) && { ipv6: { udp: over6.udp, tcp: over6.tcp } }),
    };
  }

  /** Since the NATs were diagnosed; `undefined` before they are. */
  get ageSeconds(): number | undefined {
    const ended = this.#discoveries[4]?.diagnosis?.ended;
    return ended === undefined ? undefined : Math.floor((this.#options.clock.now() - ended) / 1_000);
  }

  /** Mappings of ours that the servers have seen and attested. */
  get candidates(): Candidate[] {
    return [4, 6].flatMap((family) => this.#discoveries[family as Family]?.candidates ?? []);
  }

  /** Those over IPv4 that are at most so old. */
  newMappings(maxAgeMs: number): readonly NewMapping[] {
    return this.#discoveries[4]?.newMappings(maxAgeMs) ?? [];
  }

  /** Both transports are measured in full, for each family. */
  get complete(): boolean {
    return this.#diagnosed.size >= (2 * Object.keys(this.#discoveries).length || 2);
  }

  /** What was measured promised a direct path, and none came: it is measured again. */
  suspect(): void {
    this.#all((discovery) => discovery.suspect());
  }

  /**
   * Resolves when our mappings are known and freshly attested, or after `capMs`.
   * @param anew asks for them whatever is known, as after a loss that may be a NAT's
   */
  async refreshed(capMs: number, anew = false): Promise<void> {
    const discoveries = Object.values(this.#discoveries);
    if (discoveries.length === 0) return;
    const cap = deferred<void>();
    const cancel = this.#options.clock.setTimer(() => cap.resolve(), capMs);
    const answers = discoveries.map((discovery) => (anew ? discovery.reasked() : discovery.attested()));
    await Promise.race([anew ? answers[0] : Promise.all(answers), cap.promise]);
    cancel();
  }

  close(): void {
    this.#all((discovery) => discovery.close());
  }
}

function isOfUse({ udp, tcp }: NatProfile): boolean {
  return udp.reachable === true || tcp.reachable === true;
}

/** There is something of this family to measure with, here and at the servers. */
function measures(family: Family, { udp, tcp }: StunAccess, localAddresses: readonly string[]): boolean {
  const hasServer = [...udp, ...tcp].some((server) => familyOf(server) === family);
  return hasServer && localAddresses.some((address) => familyOfAddress(address) === family);
}
