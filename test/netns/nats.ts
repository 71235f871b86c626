import { SallyportError } from '../../src/core/errors.ts';

/** RFC 4787 §4.1 and §5; `none` where addresses aren't translated, or nothing is filtered. */
type Behavior = 'none' | 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

/** How the public port of a new mapping is chosen (RFC 4787 §4.2.1); `by-source` and `by-destination` look random. */
type Allocation = 'preserving' | 'random' | 'sequential' | 'by-source' | 'by-destination';

/**
 * What a NAT does with a packet from outside that no mapping or filter lets in: `drop` silently, `rst` (answers a SYN
 * with RST, UDP with ICMP port unreachable), or `accept`: the NAT's own stack takes it, so that connection tracking
 * holds the stray's endpoints and the flow that its owner begins later gets another port, as on a Linux router with an
 * open INPUT chain.
 */
type StrayPolicy = 'drop' | 'rst' | 'accept';

/**
 * What a NAT whose filter is address-and-port-dependent does with a SYN that crosses a SYN of its own host (a
 * simultaneous open; RFC 5382 REQ-2 says allow), and then with every SYN from outside.
 */
type CrossingPolicy = 'allow' | 'drop' | 'rst';

/** What may leave: everything, TCP only, TCP to port 443 only, or TCP to the proxy only. */
type Passage = 'everything' | 'tcp' | 'tcp-443' | 'proxy';

/**
 * `carrier`: a second NAT outside of the home NAT. Both hosts behind one NAT: in one `lan`, in two LANs that it keeps
 * apart (`segments`), or in one LAN whose switch keeps its hosts apart (`isolated`). `shared-carrier`: each host behind
 * a home NAT, and both of those behind one carrier's.
 */
type Shape = 'single' | 'carrier' | 'lan' | 'segments' | 'isolated' | 'shared-carrier';

/** What a packet from inside to a public mapping comes back in with as its source (RFC 4787 §6); `none`: it is lost. */
type Hairpin = 'none' | 'external-source' | 'internal-source';

export interface Nat {
  readonly mapping: Behavior;
  readonly filtering: Behavior;
  readonly allocation: Allocation;
  readonly passage: Passage;
  readonly strays: StrayPolicy;
  readonly shape: Shape;
  readonly hairpin: Hairpin;
  readonly crossingSyns: CrossingPolicy;
  /** After the last packet of a UDP mapping; the kernel's own 30 to 120 s where not said. */
  readonly udpLifetimeSeconds?: number | undefined;
  /** One public address, or several: a host keeps its own where the mapping is endpoint-independent, else any is taken. */
  readonly addresses: 1 | 4;
  /** UDP mappings, and as many TCP ones, that others behind this NAT make meanwhile. */
  readonly foreignPerSecond: number;
  /**
   * `firewall`: IPv6 beside IPv4, untranslated, through a firewall that lets in answers only; `only`: the same without
   * any IPv4 at the host. IPv4 alone without it.
   */
  readonly ipv6?: 'firewall' | 'only' | undefined;
  /** By which protocol hosts may ask for ports: UPnP-IGD, PCP and NAT-PMP, or NAT-PMP alone (a real `miniupnpd`). */
  readonly portMapping?: PortMappingService | undefined;
}

export type PortMappingService = 'upnp' | 'pcp' | 'nat-pmp';

/** A NAT of the table below, and what is different about it: `ei/apd+rst`, `apd/apd-sequential+busy+short`. */
export type NatName = keyof typeof NATS | `${keyof typeof NATS}+${string}`;

const EASY: Nat = {
  mapping: 'endpoint-independent',
  filtering: 'address-and-port-dependent',
  allocation: 'preserving',
  passage: 'everything',
  strays: 'drop',
  shape: 'single',
  hairpin: 'none',
  crossingSyns: 'allow',
  addresses: 1,
  foreignPerSecond: 0,
};
const HARD: Nat = { ...EASY, mapping: 'address-and-port-dependent', allocation: 'random' };

/** Every NAT by name: mapping/filtering-allocation, or what makes it special. */
export const NATS = {
  open: { ...EASY, mapping: 'none', filtering: 'none' },
  'ei/ei': { ...EASY, filtering: 'endpoint-independent' },
  'ei/ad': { ...EASY, filtering: 'address-dependent' },
  'ei/apd': EASY,
  'ei/apd-random': { ...EASY, allocation: 'by-source' },
  'ad/ad': {
    ...EASY,
    mapping: 'address-dependent',
    filtering: 'address-dependent',
    allocation: 'by-destination',
  },
  'ad/apd': { ...EASY, mapping: 'address-dependent', allocation: 'by-destination' },
  'apd/apd-random': HARD,
  'apd/apd-sequential': { ...HARD, allocation: 'sequential' },
  'udp-blocked': { ...EASY, passage: 'tcp' },
  'tcp443-only': { ...EASY, passage: 'tcp-443' },
  'proxy-only': { ...EASY, passage: 'proxy' },
  cgnat: { ...EASY, shape: 'carrier' },
  'cgnat-random': { ...HARD, shape: 'carrier' },
  'same-lan': { ...EASY, shape: 'lan' },
  'same-nat': { ...EASY, shape: 'segments', hairpin: 'external-source' },
  'same-nat-internal': { ...EASY, shape: 'isolated', hairpin: 'internal-source' },
  'same-nat-no-hairpin': { ...EASY, shape: 'segments' },
  'same-cgnat': { ...EASY, shape: 'shared-carrier', hairpin: 'external-source' },
  'same-cgnat-no-hairpin': { ...EASY, shape: 'shared-carrier' },
  'ipv6-firewall': { ...HARD, ipv6: 'firewall' },
  'ipv6-only': { ...HARD, ipv6: 'only' },
} as const satisfies Record<string, Nat>;

export const NAT_NAMES = Object.keys(NATS) as (keyof typeof NATS)[];

/** What may be different about any NAT that translates. */
const TRAITS = {
  /** Strays are answered. */
  rst: { strays: 'rst' },
  /** Strays are taken for the router's own. */
  accept: { strays: 'accept' },
  'crossing-drop': { crossingSyns: 'drop' },
  'crossing-rst': { crossingSyns: 'rst' },
  short: { udpLifetimeSeconds: 20 },
  pool: { addresses: 4 },
  busy: { foreignPerSecond: 20 },
  /** Maps ports on request. */
  upnp: { portMapping: 'upnp' },
  pcp: { portMapping: 'pcp' },
  'nat-pmp': { portMapping: 'nat-pmp' },
  ipv6: { ipv6: 'firewall' },
} as const satisfies Record<string, Partial<Nat>>;

export const TRAIT_NAMES = Object.keys(TRAITS) as (keyof typeof TRAITS)[];

/** Reads a NAT's name, with traits such as `+rst` behind it; throws USAGE. */
export function parseNatName(text: string): NatName {
  const [name = '', ...traits] = text.split('+');
  if (Object.hasOwn(NATS, name) && traits.every((trait) => Object.hasOwn(TRAITS, trait))) {
    return text as NatName;
  }
  throw new SallyportError('USAGE', `no NAT is named ${text}`, {
    hint: `one of ${NAT_NAMES.join(', ')}; behind it any of ${TRAIT_NAMES.map((trait) => `+${trait}`).join(', ')}`,
  });
}

/** The NAT of that name. For carriers' shapes it describes the outer NAT; the home NAT is plain `ei/apd`. */
export function natOf(name: NatName): Nat {
  const [base = '', ...traits] = parseNatName(name).split('+');
  const different = traits.map((trait) => TRAITS[trait as keyof typeof TRAITS]);
  return Object.assign({}, NATS[base as keyof typeof NATS], ...different) as Nat;
}

/** Whether what a STUN server sees is not what another host would see. */
export function dependsOnDestination({ mapping }: Nat): boolean {
  return mapping === 'address-dependent' || mapping === 'address-and-port-dependent';
}

/** Whether the two hosts share that NAT. */
export function isShared(nat: Nat): boolean {
  return nat.shape !== 'single' && nat.shape !== 'carrier';
}
