import { scopeOf, type Family } from '../src/core/address.ts';
import { familyOf, formatEndpoint, type Endpoint } from '../src/core/endpoint.ts';
import {
  popularName,
  type FamilyProfile,
  type NatProfile,
  type PortAllocation,
  type TransportProfile,
} from '../src/core/nat/behavior.ts';
import type { Transport } from '../src/core/punch/candidate.ts';
import { confidence } from '../src/core/punch/situation.ts';
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
  /** This host has a global address. */
  readonly ipv6: boolean;
  /** The same as `udp` and `tcp`, over IPv6; `null` where it doesn't get anywhere, or nothing measures it. */
  readonly overIPv6: { readonly udp: TransportReport; readonly tcp: TransportReport } | null;
  readonly cgnat: boolean | null;
  readonly proxy: boolean;
  /** The rendezvous that was registered at, or the STUN servers that were named. */
  readonly servers: string;
  /** What these servers could not tell, and why. */
  readonly notes: readonly string[];
  readonly prognosis: readonly Prognosis[];
  /** How long the diagnosis took, and how long ago it ended. */
  readonly tookMs: number | null;
  readonly ageSeconds: number | null;
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
  /** That the mapping is what it is said to be, 0 to 1. */
  readonly confidence: number;
  /** True where one server address had to do: a second one could tell more. */
  readonly provisional: boolean;
  /** The STUN servers that measured it. */
  readonly servers: readonly string[];
}

/** What a report is made from. */
export interface NatMeasurement {
  readonly profile: NatProfile;
  readonly stun: Readonly<Record<Transport, readonly Endpoint[]>>;
  /** The address of this host that what goes to them leaves from; a host has others for virtual networks. */
  readonly source: string | undefined;
  readonly servers: string;
  readonly proxy: boolean;
  readonly portMapping: PortMappingReport | null;
  readonly notes: readonly string[];
  readonly tookMs: number | undefined;
}

export function natReport(measurement: NatMeasurement): NatReport {
  const { profile, stun, source, servers, proxy, portMapping, notes, tookMs } = measurement;
  const { udp, ipv6, ageSeconds } = profile;
  const addresses = hostAddresses();
  const reports = (of: FamilyProfile, family: Family) => ({
    udp: transportReport(of.udp, serversOf(stun.udp, family)),
    tcp: transportReport(of.tcp, serversOf(stun.tcp, family)),
  });
  return {
    ...reports(profile, 4),
    type: popularName(udp),
    portMapping,
    ipv6: addresses.some(({ family, scope }) => family === 6 && scope === 'public'),
    overIPv6: ipv6 ? reports(ipv6, 6) : null,
    cgnat: isCarrierNat(source, profile),
    proxy,
    servers,
    notes: [...notes, ...profileNotes(profile)],
    prognosis: prognosisFor(profile),
    tookMs: tookMs === undefined ? null : Math.round(tookMs),
    ageSeconds: ageSeconds ?? null,
  };
}

function serversOf(servers: readonly Endpoint[], family: Family): readonly Endpoint[] {
  return servers.filter((server) => familyOf(server) === family);
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
    confidence: confidenceOf(profile),
    provisional: profile.provisional,
    servers: stun.map(formatEndpoint),
  };
}

function confidenceOf(profile: TransportProfile): number {
  if (profile.reachable === undefined) return 0;
  return profile.reachable ? confidence(profile) : CONFIDENCE_IN_SILENCE;
}

/** Where nothing at all came back, within a second and a half. */
const CONFIDENCE_IN_SILENCE = 0.95;

function allocationText(allocation: PortAllocation): string {
  return allocation.kind === 'sequential' ? `sequential(${allocation.step})` : allocation.kind;
}

/**
 * An address of the carriers' own range (RFC 6598) on the way out or outside proves a carrier's NAT, and so does one that is
 * private even outside. A public address of our own excludes it.
 */
function isCarrierNat(source: string | undefined, { udp, tcp }: NatProfile): boolean | null {
  if (udp.mapping === 'none' || tcp.mapping === 'none') return false;
  const mapped = [...udp.publicAddresses, ...tcp.publicAddresses];
  const isProof = (address: string, scopes: readonly string[]) => scopes.includes(scopeOf(address));
  const isInside = source !== undefined && isProof(source, ['shared']);
  return isInside || mapped.some((address) => isProof(address, ['shared', 'private'])) ? true : null;
}

function profileNotes({ udp, tcp }: NatProfile): string[] {
  if (![udp, tcp].some(({ reachable, provisional }) => reachable === true && provisional)) return [];
  return [
    'the rendezvous has one address: a filter may be more open than it looks, and a mapping less independent where no relay was asked too',
  ];
}
