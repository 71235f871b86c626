import { dependsOnDestination, natOf, type Nat } from '../../test/netns/nats.ts';
import type { NatName } from '../../test/netns/lab.ts';
import type { BestKind } from '../../test/netns/verdict.ts';

/** Two NATs that are to be passed, and the best kind of path that theory allows. */
export interface Pair {
  readonly name: string;
  readonly a: NatName;
  readonly b: NatName;
  /** The kinds that the peers are restricted to; all of them where not said. */
  readonly paths?: string | undefined;
  readonly best: BestKind;
}

/** The eight that are passed in all 36 combinations. */
export const EIGHT: readonly NatName[] = [
  'open',
  'ei/ei',
  'ei/ad',
  'ei/apd',
  'apd/apd-random',
  'apd/apd-sequential',
  'cgnat-random',
  'udp-blocked',
];

/** NATs with something special, each against an easy one and against its like. */
const SPECIAL: readonly NatName[] = [
  'ei/apd-random',
  'ad/ad',
  'ad/apd',
  'cgnat',
  'ei/apd+rst',
  'ei/apd+accept',
  'ei/apd+short',
  'ei/apd+pool',
  'apd/apd-random+pool',
  'apd/apd-sequential+busy',
];

/** Both peers behind the same one. */
const SHARED: readonly NatName[] = [
  'same-lan',
  'same-nat',
  'same-nat-internal',
  'same-nat-no-hairpin',
  'same-cgnat',
  'same-cgnat-no-hairpin',
];

/** What only shows by TCP. */
const BY_TCP: readonly (readonly [NatName, NatName])[] = [
  ['ei/apd+rst', 'ei/apd+rst'],
  ['ei/apd+crossing-drop', 'ei/apd'],
  ['ei/apd+crossing-rst', 'ei/apd'],
  ['ei/apd+crossing-drop', 'ei/apd+crossing-drop'],
  ['ei/apd+crossing-rst', 'ei/apd+crossing-rst'],
];

export const eightByEight: readonly Pair[] = EIGHT.flatMap((a, index) =>
  EIGHT.slice(index).map((b) => pairOf(a, b)),
);

export const specialPairs: readonly Pair[] = [
  ...SPECIAL.map((nat) => pairOf(nat, 'ei/apd')),
  ...SPECIAL.map((nat) => pairOf(nat, nat)),
  pairOf('ei/apd+rst', 'ei/apd+accept'),
  pairOf('ad/ad', 'ad/apd'),
  pairOf('ad/ad', 'apd/apd-random'),
  pairOf('apd/apd-sequential', 'apd/apd-sequential+busy'),
  pairOf('udp-blocked', 'apd/apd-sequential+busy'),
  pairOf('apd/apd-random', 'apd/apd-random+upnp'),
  pairOf('apd/apd-random+pcp', 'apd/apd-random'),
  pairOf('apd/apd-random', 'apd/apd-random+nat-pmp'),
  ...SHARED.map((nat) => pairOf(nat, nat)),
  ...BY_TCP.map(([a, b]) => pairOf(a, b, 'tcp,relay')),
];

function pairOf(a: NatName, b: NatName, paths?: string): Pair {
  const restriction = paths === undefined ? '' : ` --paths ${paths}`;
  return { name: `${a} × ${b}${restriction}`, a, b, paths, best: bestOf(natOf(a), natOf(b), paths) };
}

/** A router maps ports on request, and has the public address itself. */
function isMappable({ portMapping, shape }: Nat): boolean {
  return portMapping !== undefined && shape === 'single';
}

/** Two hosts behind one NAT that carries nothing from one inner network to another. */
function isCutOff({ shape, hairpin }: Nat): boolean {
  return (shape === 'segments' || shape === 'isolated' || shape === 'shared-carrier') && hairpin === 'none';
}

/**
 * Direct where a router maps a port; else unless both mappings depend on the destination, and neither can both be predicted nor does one depend
 * on the address alone and take any port; by TCP where UDP can't leave or isn't allowed, and there not where both NATs refuse crossing SYNs.
 */
function bestOf(a: Nat, b: Nat, paths = 'udp,tcp'): BestKind {
  const both = [a, b];
  if (both.every(isCutOff)) return 'relay';
  if (both.some(isMappable)) return 'direct';
  const countsUp = both.every(({ allocation }) => allocation === 'sequential');
  const udp = paths.includes('udp') && both.every(({ passage }) => passage === 'everything');
  const isMet =
    udp &&
    both.some(({ mapping, filtering }) => [mapping, filtering].every((each) => each === 'address-dependent'));
  if (both.every(dependsOnDestination) && !countsUp && !isMet) return 'relay';
  if (udp) return 'direct';
  return both.every(({ crossingSyns }) => crossingSyns !== 'allow') ? 'relay' : 'tcp';
}
