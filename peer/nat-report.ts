import { scopeOf } from '../src/core/address.ts';
import { formatEndpoint, type Endpoint } from '../src/core/endpoint.ts';
import {
  popularName,
  type NatProfile,
  type PortAllocation,
  type TransportProfile,
} from '../src/core/nat/behavior.ts';
import type { Transport } from '../src/core/punch/candidate.ts';
import { hostAddresses } from '../src/net/interfaces.ts';
import type { PortMappingReport } from '../src/net/port-mapping.ts';
import { prognosisFor, type Prognosis } from './prognosis.ts';

/** `peer nat` as scripts see it (docs/operations.md, "Output for scripts"). `null`: not measured, or not to be told. */
export interface NatReport {
  readonly udp: TransportReport;
  readonly tcp: TransportReport;
  /** The popular name of what UDP meets. */
  readonly type: string;
  /** `null` where no router maps ports on request. */
  readonly portMapping: PortMappingReport | null;
  readonly ipv6: boolean;
  readonly cgnat: boolean | null;
  readonly proxy: boolean;
  /** The rendezvous that was registered at, or the STUN servers that were named. */
  readonly servers: string;
  /** What these servers could not tell, and why. */
  readonly notes: readonly string[];
  readonly prognosis: readonly Prognosis[];
}

export interface TransportReport {
  readonly reachable: boolean | null;
  readonly mapping: string;
  readonly filtering: string;
  readonly allocation: string;
  /** What becomes of a segment or datagram that belongs to no flow. */
  readonly strays: string;
  readonly hairpin: boolean | null;
  /** At least so long an idle mapping lives, and less than the next of 10, 30, 60, 120; 0 is less than 10. */
  readonly lifetimeSeconds: number | null;
  readonly public: readonly string[];
  readonly type: string;
  /** True where one server address had to do: a second one could tell more. */
  readonly provisional: boolean;
  /** The STUN servers that measured it. */
  readonly servers: readonly string[];
}

/** What a report is made from. */
export interface NatMeasurement {
  readonly profile: NatProfile;
  readonly stun: Readonly<Record<Transport, readonly Endpoint[]>>;
  readonly servers: string;
  readonly proxy: boolean;
  readonly portMapping: PortMappingReport | null;
  readonly notes: readonly string[];
}

export function natReport({ profile, stun, servers, proxy, portMapping, notes }: NatMeasurement): NatReport {
  const { udp, tcp } = profile;
  const addresses = hostAddresses();
  return {
    udp: transportReport(udp, stun.udp),
    tcp: transportReport(tcp, stun.tcp),
    type: popularName(udp),
    portMapping,
    ipv6: addresses.some(({ family, scope }) => family === 6 && scope === 'public'),
    cgnat: isCarrierNat(
      addresses.map(({ address }) => address),
      profile,
    ),
    proxy,
    servers,
    notes: [...notes, ...profileNotes(profile)],
    prognosis: prognosisFor(profile),
  };
}

function transportReport(profile: TransportProfile, stun: readonly Endpoint[]): TransportReport {
  return {
    reachable: profile.reachable ?? null,
    mapping: profile.mapping,
    filtering: profile.filtering,
    allocation: allocationText(profile.allocation),
    strays: profile.strays,
    hairpin: profile.hairpin ?? null,
    lifetimeSeconds: profile.lifetimeSeconds ?? null,
    public: profile.publicAddresses,
    type: popularName(profile),
    provisional: profile.provisional,
    servers: stun.map(formatEndpoint),
  };
}

function allocationText(allocation: PortAllocation): string {
  return allocation.kind === 'sequential' ? `sequential(${allocation.step})` : allocation.kind;
}

/**
 * An address of the carriers' own range (RFC 6598) here or outside proves a carrier's NAT, and so does one that is
 * private even outside. A public address of our own excludes it.
 */
function isCarrierNat(own: readonly string[], { udp, tcp }: NatProfile): boolean | null {
  if (udp.mapping === 'none' || tcp.mapping === 'none') return false;
  const mapped = [...udp.publicAddresses, ...tcp.publicAddresses];
  const isProof = (address: string, scopes: readonly string[]) => scopes.includes(scopeOf(address));
  const isInside = own.some((address) => isProof(address, ['shared']));
  return isInside || mapped.some((address) => isProof(address, ['shared', 'private'])) ? true : null;
}

function profileNotes({ udp, tcp }: NatProfile): string[] {
  if (![udp, tcp].some(({ reachable, provisional }) => reachable === true && provisional)) return [];
  return [
    'all answers came from one address, so mapping is provisional, and a filter may be more open than it looks',
  ];
}
