import { SallyportError } from '../../src/core/errors.ts';

/** RFC 4787 §4.1 and §5; `none` where addresses aren't translated, or nothing is filtered. */
type Behavior = 'none' | 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

/** How the public port of a new mapping is chosen (RFC 4787 §4.2.1). */
type Allocation = 'preserving' | 'random' | 'sequential' | 'by-destination';

/**
 * What a NAT does with a packet from outside that no mapping or filter lets in: `drop` silently, `rst` (answers a SYN
 * with RST, drops UDP), or `accept`: the NAT's own stack takes it, so that connection tracking holds the stray's
 * endpoints and the flow that its owner begins later gets another port, as on a Linux router with an open INPUT chain.
 */
type StrayPolicy = 'drop' | 'rst' | 'accept';

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
  /** By which protocol hosts may ask for ports: UPnP-IGD, or PCP and NAT-PMP (a real `miniupnpd`). */
  readonly portMapping?: PortMappingService | undefined;
}

export type PortMappingService = 'upnp' | 'pcp';

type Suffix = StrayPolicy | PortMappingService;

export type NatName = keyof typeof NATS | `${keyof typeof NATS}+${Exclude<Suffix, 'drop'>}`;

const EASY: Nat = {
  mapping: 'endpoint-independent',
  filtering: 'address-and-port-dependent',
  allocation: 'preserving',
  passage: 'everything',
  strays: 'drop',
  shape: 'single',
  hairpin: 'none',
};
const HARD: Nat = { ...EASY, mapping: 'address-and-port-dependent', allocation: 'random' };

/** Every NAT by name: mapping/filtering-allocation, or what makes it special. */
export const NATS = {
  open: { ...EASY, mapping: 'none', filtering: 'none' },
  'ei/ei': { ...EASY, filtering: 'endpoint-independent' },
  'ei/ad': { ...EASY, filtering: 'address-dependent' },
  'ei/apd': EASY,
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
} as const satisfies Record<string, Nat>;

export const NAT_NAMES = Object.keys(NATS) as (keyof typeof NATS)[];

/** Reads a NAT's name, with a suffix such as `+rst` behind it for what it does besides; throws USAGE. */
export function parseNatName(text: string): NatName {
  const [name, suffix, ...rest] = text.split('+');
  const known = name !== undefined && Object.hasOwn(NATS, name);
  if (known && rest.length === 0 && (suffix === undefined || Object.hasOwn(SUFFIXES, suffix))) {
    return text as NatName;
  }
  throw new SallyportError('USAGE', `no NAT is named ${text}`, {
    hint:
      `one of ${NAT_NAMES.join(', ')}; "+rst" or "+accept" behind it says what becomes of strays, ` +
      '"+upnp" or "+pcp" that it maps ports on request',
  });
}

const SUFFIXES: Readonly<Record<Exclude<Suffix, 'drop'>, Partial<Nat>>> = {
  rst: { strays: 'rst' },
  accept: { strays: 'accept' },
  upnp: { portMapping: 'upnp' },
  pcp: { portMapping: 'pcp' },
};

/** The NAT of that name. For carriers' shapes it describes the outer NAT; the home NAT is plain `ei/apd`. */
export function natOf(name: NatName): Nat {
  const [base, suffix] = name.split('+') as [keyof typeof NATS, keyof typeof SUFFIXES | undefined];
  return suffix === undefined ? NATS[base] : { ...NATS[base], ...SUFFIXES[suffix] };
}

/** Whether the two hosts share that NAT. */
export function isShared(nat: Nat): boolean {
  return nat.shape !== 'single' && nat.shape !== 'carrier';
}
