import assert from 'node:assert';
import type { Host } from './host.ts';
import type { LinkOptions } from './link.ts';
import type { Nat } from './nat.ts';
import {
  defineNat,
  overrideNat,
  PRESERVING,
  RANDOM,
  sequential,
  type NatBehavior,
  type NatOverrides,
} from './nat-behavior.ts';
import { World } from './network.ts';
import type { Segment } from './segment.ts';

const EI = 'endpoint-independent';
const AD = 'address-dependent';
const APD = 'address-and-port-dependent';

const EASY = defineNat(EI, APD, PRESERVING);

/** NATs by the names of the laboratory: mapping/filtering, and the port allocation where it matters. */
const NATS = {
  'ei/ei': defineNat(EI, EI, PRESERVING),
  'ei/ad': defineNat(EI, AD, PRESERVING),
  'ei/apd': EASY,
  'ad/ad': defineNat(AD, AD, RANDOM),
  'ad/apd': defineNat(AD, APD, RANDOM),
  'apd/apd-random': defineNat(APD, APD, RANDOM),
  'apd/apd-sequential': defineNat(APD, APD, sequential()),
  'udp-blocked': overrideNat(EASY, { udp: { blocked: true } }),
  'tcp443-only': overrideNat(EASY, { udp: { blocked: true }, tcp: { onlyPorts: [443] } }),
} as const satisfies Record<string, NatBehavior>;

/** A home NAT (`ei/apd`) behind a carrier's. */
const CARRIERS = { cgnat: EASY, 'cgnat-random': NATS['apd/apd-random'] } as const;

/** Both hosts behind one NAT: on one LAN, or on two that are isolated from each other. */
const SHARED = ['same-lan', 'same-nat', 'same-nat-no-hairpin'] as const;

export type NatName = keyof typeof NATS | keyof typeof CARRIERS | (typeof SHARED)[number] | 'open';

export const NAT_NAMES: readonly NatName[] = [
  'open',
  ...(Object.keys(NATS) as (keyof typeof NATS)[]),
  ...(Object.keys(CARRIERS) as (keyof typeof CARRIERS)[]),
  ...SHARED,
];

/** The link options are those of each NAT's public side (an open host's own link), in each direction. */
export interface TwoLansOptions extends LinkOptions {
  readonly a: NatName;
  /** For the shared topologies the same name as `a`. */
  readonly b: NatName;
  readonly seed?: number | string;
  /** What differs from the named behaviour; for `cgnat` it is the carrier's NAT that differs. */
  readonly natA?: NatOverrides;
  readonly natB?: NatOverrides;
  /** How far each host's clock is ahead of the world's. */
  readonly clockOffsetA?: number;
  readonly clockOffsetB?: number;
}

export interface TwoLans {
  readonly world: World;
  readonly a: Host;
  readonly b: Host;
  /** A public host with two addresses, 203.0.113.1 and 203.0.113.2. */
  readonly server: Host;
  /** The outermost NAT of each side; `undefined` for an open host, the same one for shared topologies. */
  readonly natA: Nat | undefined;
  readonly natB: Nat | undefined;
  /** Every NAT between host and internet, innermost first. */
  readonly natsA: readonly Nat[];
  readonly natsB: readonly Nat[];
  /** Packets that went from host to host and arrived, counted at the hosts whatever the NATs made of them. */
  readonly direct: () => { udp: number; tcp: number };
}

/** Two hosts behind NATs of the named behaviours and a server between them: the laboratory's topology. */
export function twoLans(options: TwoLansOptions): TwoLans {
  const world = new World(options.seed === undefined ? {} : { seed: options.seed });
  const server = world.server(2);
  const { a, b } = isShared(options.a) ? sharedSides(world, options) : separateSides(world, options);
  return {
    world,
    server,
    a: a.host,
    b: b.host,
    natA: a.nats.at(-1),
    natB: b.nats.at(-1),
    natsA: a.nats,
    natsB: b.nats,
    direct: () => {
      const atA = a.host.receivedFrom(b.host);
      const atB = b.host.receivedFrom(a.host);
      return { udp: atA.udp + atB.udp, tcp: atA.tcp + atB.tcp };
    },
  };
}

/** One host and the NATs between it and the internet, innermost first. */
interface Side {
  readonly host: Host;
  readonly nats: readonly Nat[];
}

interface Site {
  readonly name: 'a' | 'b';
  /** Tells the two sites' addresses apart: 192.168.`number`.0/24, 100.64.`number`.0/24, 198.51.100.`number`0. */
  readonly number: 1 | 2;
  readonly overrides: NatOverrides;
  readonly clockOffsetMs: number;
}

function sitesOf(options: TwoLansOptions): { a: Site; b: Site } {
  return {
    a: { name: 'a', number: 1, overrides: options.natA ?? {}, clockOffsetMs: options.clockOffsetA ?? 0 },
    b: { name: 'b', number: 2, overrides: options.natB ?? {}, clockOffsetMs: options.clockOffsetB ?? 0 },
  };
}

function separateSides(world: World, options: TwoLansOptions): { a: Side; b: Side } {
  const { a, b } = sitesOf(options);
  return { a: buildSide(world, options.a, a, options), b: buildSide(world, options.b, b, options) };
}

function buildSide(world: World, name: NatName, site: Site, link: LinkOptions): Side {
  const publicAddress = `198.51.100.${site.number}0`;
  if (name === 'open') {
    return { host: hostOf(world, site, world.internet, publicAddress, linkOf(link)), nats: [] };
  }
  const lan = world.lan(`lan ${site.name}`);
  const host = hostOf(world, site, lan, `192.168.${site.number}.2`);
  const outermost = {
    name: `nat ${site.name}`,
    outside: world.internet,
    // Enough for the mappings of one host to differ.
    addresses: site.overrides.pooling === 'arbitrary' ? poolFrom(site) : [publicAddress],
    link: linkOf(link),
  };
  if (isCarrier(name)) {
    const carrierLan = world.lan(`carrier ${site.name}`);
    const behavior = overrideNat(CARRIERS[name], site.overrides);
    const home = world.nat({
      name: `home ${site.name}`,
      behavior: EASY,
      outside: carrierLan,
      addresses: [`100.64.${site.number}.2`],
      inside: [lan],
    });
    return { host, nats: [home, world.nat({ ...outermost, behavior, inside: [carrierLan] })] };
  }
  assert(!isShared(name), `${name} takes both sides`);
  const behavior = overrideNat(NATS[name], site.overrides);
  return { host, nats: [world.nat({ ...outermost, behavior, inside: [lan] })] };
}

function poolFrom({ number }: Site): string[] {
  return [0, 1, 2, 3].map((last) => `198.51.100.${number}${last}`);
}

function sharedSides(world: World, options: TwoLansOptions): { a: Side; b: Side } {
  assert(options.a === options.b, `${options.a} takes both sides`);
  const { a, b } = sitesOf(options);
  const lanA = world.lan('lan a');
  const lanB = options.a === 'same-lan' ? lanA : world.lan('lan b');
  const hairpin = options.a === 'same-nat' ? 'external-source' : 'none';
  const nat = world.nat({
    name: 'nat',
    behavior: overrideNat(EASY, { hairpin, ...a.overrides }),
    outside: world.internet,
    addresses: ['198.51.100.10'],
    inside: lanA === lanB ? [lanA] : [lanA, lanB],
    link: linkOf(options),
  });
  const addressB = lanA === lanB ? '192.168.1.3' : '192.168.2.2';
  return {
    a: { host: hostOf(world, a, lanA, '192.168.1.2'), nats: [nat] },
    b: { host: hostOf(world, b, lanB, addressB), nats: [nat] },
  };
}

function hostOf(world: World, site: Site, segment: Segment, address: string, link?: LinkOptions): Host {
  const { name, clockOffsetMs } = site;
  return world.host({ name, clockOffsetMs, segment, addresses: [address], ...(link && { link }) });
}

function linkOf(options: LinkOptions): LinkOptions {
  const { delayMs = 0, jitterMs = 0, lossPercent = 0, reorderPercent = 0, duplicatePercent = 0 } = options;
  return { delayMs, jitterMs, lossPercent, reorderPercent, duplicatePercent };
}

function isCarrier(name: NatName): name is keyof typeof CARRIERS {
  return name in CARRIERS;
}

function isShared(name: NatName): name is (typeof SHARED)[number] {
  return (SHARED as readonly string[]).includes(name);
}
