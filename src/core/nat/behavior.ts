/** Mapping behaviour (RFC 4787 §4.1); `none` where the address isn't translated. */
export type MappingBehavior =
  'none' | 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent' | 'unknown';

/** Filtering behaviour (RFC 4787 §5); `none` where nothing is filtered. */
export type FilteringBehavior = MappingBehavior;

/** How a NAT chooses the external port of a new mapping (RFC 4787 §4.2). */
export type PortAllocation =
  | { readonly kind: 'preserving' }
  /** Each new mapping takes the last one's port plus `step`. */
  | { readonly kind: 'sequential'; readonly step: number }
  | { readonly kind: 'random' }
  | { readonly kind: 'unknown' };

/** What a NAT does with a TCP segment or datagram that belongs to no flow. */
export type StrayPolicy = 'drop' | 'reset' | 'unknown';

/** What one transport meets on its way out, as measured from this host. */
export interface TransportProfile {
  /** `false` where this transport can't leave the network at all; `undefined` until measured. */
  readonly reachable: boolean | undefined;
  readonly mapping: MappingBehavior;
  readonly filtering: FilteringBehavior;
  /** True while the verdict rests on one server address only (equal mappings on both its ports). */
  readonly provisional: boolean;
  readonly allocation: PortAllocation;
  readonly strays: StrayPolicy;
  /** `undefined` until measured. */
  readonly hairpin: boolean | undefined;
  /** How long an idle mapping lives, seconds; `undefined` until measured. */
  readonly lifetimeSeconds: number | undefined;
  /** Public addresses seen, one unless the NAT has a pool. */
  readonly publicAddresses: readonly string[];
  /** A router leads a port of its own here on request (UPnP-IGD, NAT-PMP, PCP), and it was reached from outside. */
  readonly portMapped?: boolean | undefined;
}

/** Both transports' profiles; `version` grows with each trickled update so that both ends plan from the same. */
export interface NatProfile {
  readonly version: number;
  readonly udp: TransportProfile;
  readonly tcp: TransportProfile;
  /** How long ago the older of the two was measured when this was said; `undefined` where that isn't told. */
  readonly ageSeconds?: number | undefined;
  /** The same over IPv6, where it leaves the network; `udp` and `tcp` speak of IPv4. */
  readonly ipv6?: FamilyProfile | undefined;
}

export interface FamilyProfile {
  readonly udp: TransportProfile;
  readonly tcp: TransportProfile;
}

/** Nothing measured yet. What the plan makes of that is in `plan.ts`. */
export const UNMEASURED: TransportProfile = {
  reachable: undefined,
  mapping: 'unknown',
  filtering: 'unknown',
  provisional: true,
  allocation: { kind: 'unknown' },
  strays: 'unknown',
  hairpin: undefined,
  lifetimeSeconds: undefined,
  publicAddresses: [],
};

/** The popular name (RFC 3489), shown to people beside the behaviours and used for nothing else. */
export function popularName({ reachable, mapping, filtering }: TransportProfile): string {
  if (reachable === false) return 'blocked';
  if (mapping === 'unknown' || reachable === undefined) return 'unknown';
  if (mapping === 'none') return WITHOUT_NAT[filtering] ?? 'firewall';
  if (mapping !== 'endpoint-independent') return 'symmetric';
  switch (filtering) {
    case 'none':
    case 'endpoint-independent':
      return 'full cone';
    case 'address-dependent':
      return 'restricted cone';
    case 'address-and-port-dependent':
      return 'port-restricted cone';
    case 'unknown':
      return 'cone';
  }
}

const WITHOUT_NAT: Partial<Record<FilteringBehavior, string>> = { none: 'open', unknown: 'no NAT' };
