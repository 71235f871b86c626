import { accountingRules, type AccountedHost, type TrafficGroup } from './accounting.ts';
import { ADDRESSES, SERVER_GATEWAY, SERVER_IPV6, SERVERS, SIDE_IPV6, type SideName } from './addresses.ts';
import { isShared, natOf, NATS, type Nat, type NatName, type PortMappingService } from './nats.ts';
import { IPV6_FIREWALL, natRules } from './ruleset.ts';
import { SallyportError } from '../../src/core/errors.ts';

/**
 * The lab's internet, in documentation addresses (RFC 5737), each box a network namespace:
 *
 *   host-a ─ nat-a ─ [carrier-a] ─ [wire-a] ─ isp-a ─┐                     ┌─ rendezvous 203.0.113.1, 203.0.113.2
 *                                                     ├─ core ─────────────┼─ relay      203.0.113.3
 *   host-b ─ nat-b ─ [carrier-b] ─ [wire-b] ─ isp-b ─┘                     └─ proxy      203.0.113.4
 *
 * From NAT to NAT there are three routers, so a low-TTL primer can cross the own NAT and die before the other one.
 * A wire holds the access link's delay and loss. Hosts that share a NAT are both behind `nat-a`.
 */
export interface Topology {
  readonly nodes: ReadonlyMap<string, Node>;
  readonly links: readonly Link[];
  readonly sides: Readonly<Record<SideName, Side>>;
}

export interface Side {
  readonly host: string;
  /** The NAT next to the host, whose counters tell the traffic. */
  readonly nat: string;
  /** Every node on the way that holds mappings. */
  readonly translators: readonly string[];
  /** The access link, and the interfaces at its ends. */
  readonly wire: string;
  readonly wireEnds: readonly (readonly [node: string, name: string])[];
  readonly hostAddress: string;
  readonly publicAddress: string;
  readonly account: AccountedHost;
  /** What the router next to the host maps ports by on request. */
  readonly portMapping: PortMappingService | undefined;
  /** The outermost NAT and its addresses, where there is one that translates; it has only the first unless it is a pool. */
  readonly translation:
    | {
        readonly node: string;
        readonly nat: Nat;
        readonly addresses: PublicAddresses;
        readonly router: string;
      }
    | undefined;
  /** Where the accounting tables are: `bridge` for what stays inside of a LAN. */
  readonly families: readonly ('ip' | 'bridge')[];
  /** Over IPv6, in the accounting table `ip6`; `undefined` where the side has none. */
  readonly ipv6: { readonly hostAddress: string; readonly account: AccountedHost } | undefined;
}

export interface Node {
  readonly interfaces: Interface[];
  /** As `ip route add` takes them. */
  readonly routes: string[];
  readonly forwards: boolean;
  /** Below /proc/sys/net, beyond what every node gets. */
  readonly settings: [path: string, value: string][];
  /** Text for `nft -f`. */
  rules: string;
}

export interface Interface {
  readonly name: string;
  /** With prefix length; none on the faces of a wire or the ports of a bridge. */
  readonly addresses: string[];
  /** This interface is a bridge over those. */
  readonly ports?: readonly string[];
  /** The bridge carries nothing from one port to another. */
  readonly isolated?: boolean;
}

type PublicAddresses = readonly [string, ...string[]];

export type Link = readonly [
  leftNode: string,
  leftInterface: string,
  rightNode: string,
  rightInterface: string,
];

export interface TopologyRequest {
  readonly a: NatName;
  readonly b: NatName;
  /** Whether the access links are wires with delay and loss, or plain links. */
  readonly wires: boolean;
}

/** Plans the namespaces for two NATs by name; a NAT that both hosts share is named on both sides. Throws USAGE. */
export function planTopology({ a, b, wires }: TopologyRequest): Topology {
  const [natA, natB] = [natOf(a), natOf(b)];
  if (isShared(natA) || isShared(natB)) {
    if (a === b && natA.shape === 'shared-carrier') return new Plan(wires).sharedCarrier(natA);
    if (a === b) return new Plan(wires).shared(natA);
    throw new SallyportError('USAGE', `${isShared(natA) ? a : b} holds both hosts: name it on both sides`);
  }
  return new Plan(wires).separate(natA, natB);
}

class Plan {
  readonly #nodes = new Map<string, Node>();
  readonly #links: Link[] = [];
  readonly #wires: boolean;

  constructor(wires: boolean) {
    this.#wires = wires;
  }

  separate(natA: Nat, natB: Nat): Topology {
    this.#internet(['a', 'b']);
    if (natA.ipv6 || natB.ipv6) this.#addServerIPv6();
    const hosts = { a: hostAddress('a', natA), b: hostAddress('b', natB) };
    const publics = { a: publicAddresses('a', natA), b: publicAddresses('b', natB) };
    const plan = (name: SideName, nat: Nat): Side => {
      const other = name === 'a' ? 'b' : 'a';
      const account = accountOf(name, hosts[name], [...publics[other], hosts[other]]);
      const translators = this.#accessNetwork(name, nat);
      this.#node(`nat-${name}`).rules += accountingRules('ip', [account]);
      return {
        host: `host-${name}`,
        nat: `nat-${name}`,
        translators,
        ...accessLink(name, translators.at(-1)),
        hostAddress: hosts[name],
        publicAddress: publics[name][0],
        account,
        portMapping: nat.portMapping,
        translation: translationOf(name, nat, translators.at(-1)),
        families: ['ip'],
        ipv6: nat.ipv6 && this.#addIPv6(name, nat.ipv6),
      };
    };
    const sides = { a: plan('a', natA), b: plan('b', natB) };
    return { nodes: this.#nodes, links: this.#links, sides };
  }

  shared(nat: Nat): Topology {
    this.#internet(['a']);
    const publicAddress = ADDRESSES.a.access.nat;
    const addresses = publicAddresses('a', nat);
    const onLan = nat.shape !== 'segments';
    const hosts = { a: '192.168.1.2', b: onLan ? '192.168.1.3' : '192.168.2.2' };
    const accounts = {
      a: accountOf('a', hosts.a, [hosts.b, ...addresses]),
      b: accountOf('b', hosts.b, [hosts.a, ...addresses]),
    };
    const families = onLan ? (['ip', 'bridge'] as const) : (['ip'] as const);
    this.#addNat(
      'nat-a',
      nat,
      addresses,
      ADDRESSES.a.access.isp,
      onLan ? lanBridge(nat.shape === 'isolated') : lanSegments(),
    );
    this.#connectToIsp('a', 'nat-a');
    const rules = families.map((family) => accountingRules(family, [accounts.a, accounts.b]));
    this.#node('nat-a').rules += rules.join('');
    const plan = (name: SideName): Side => {
      const router = onLan ? '192.168.1.1' : `${ADDRESSES[name].lan}.1`;
      this.#addHost(name, `${hosts[name]}/24`, router, ['nat-a', `lan-${name}`]);
      return {
        host: `host-${name}`,
        nat: 'nat-a',
        translators: ['nat-a'],
        ...accessLink('a', 'nat-a'),
        hostAddress: hosts[name],
        publicAddress,
        account: accounts[name],
        portMapping: name === 'a' ? nat.portMapping : undefined,
        translation: translationOf('a', nat, 'nat-a'),
        families,
        ipv6: undefined,
      };
    };
    return { nodes: this.#nodes, links: this.#links, sides: { a: plan('a'), b: plan('b') } };
  }

  sharedCarrier(nat: Nat): Topology {
    this.#internet(['a']);
    const { nat: publicAddress, isp } = ADDRESSES.a.access;
    const addresses = publicAddresses('a', nat);
    const { portMapping, ...outer } = nat;
    const sides = ['a', 'b'] as const;
    const inside = sides.map((side) => ({
      name: `lan-${side}`,
      addresses: [`${ADDRESSES[side].carrier.router}/24`],
    }));
    this.#addNat('carrier-a', outer, addresses, isp, inside);
    this.#connectToIsp('a', 'carrier-a');
    const plan = (name: SideName): Side => {
      const { lan, carrier } = ADDRESSES[name];
      const [hostAddress, home] = [`${lan}.2`, `nat-${name}`];
      this.#addHost(name, `${hostAddress}/24`, `${lan}.1`, [home, 'lan']);
      const homeLan = [{ name: 'lan', addresses: [`${lan}.1/24`] }];
      this.#addNat(home, { ...NATS['ei/apd'], portMapping }, [carrier.nat], carrier.router, homeLan);
      this.#links.push([home, 'wan', 'carrier-a', `lan-${name}`]);
      const account = accountOf(name, hostAddress, addresses);
      this.#node(home).rules += accountingRules('ip', [account]);
      return {
        host: `host-${name}`,
        nat: home,
        translators: [home, 'carrier-a'],
        ...accessLink('a', 'carrier-a'),
        hostAddress,
        publicAddress,
        account,
        portMapping,
        translation: translationOf('a', nat, 'carrier-a'),
        families: ['ip'],
        ipv6: undefined,
      };
    };
    return { nodes: this.#nodes, links: this.#links, sides: { a: plan('a'), b: plan('b') } };
  }

  /** Core, providers and public servers. */
  #internet(sides: readonly SideName[]): void {
    const core = this.#add('core', true);
    for (const [name, addresses] of Object.entries(SERVERS)) {
      const server = this.#add(name, false);
      server.interfaces.push({ name: 'eth0', addresses: addresses.map((address) => `${address}/32`) });
      server.routes.push(`default via ${SERVER_GATEWAY} dev eth0 onlink src ${addresses[0]}`);
      core.interfaces.push({ name: `to-${name}`, addresses: [`${SERVER_GATEWAY}/32`] });
      core.routes.push(...addresses.map((address) => `${address}/32 dev to-${name}`));
      this.#links.push(['core', `to-${name}`, name, 'eth0']);
    }
    for (const side of sides) this.#addProvider(side, core);
  }

  #addProvider(side: SideName, core: Node): void {
    const { access, open, portMapping, uplink } = ADDRESSES[side];
    const isp = this.#add(`isp-${side}`, true);
    isp.interfaces.push({ name: 'access', addresses: [`${access.isp}/29`] });
    isp.interfaces.push({ name: 'uplink', addresses: [`${uplink.isp}/30`] });
    isp.routes.push(
      `default via ${uplink.core}`,
      ...[open.network, portMapping].map((to) => `${to} via ${access.nat}`),
    );
    core.interfaces.push({ name: `to-isp-${side}`, addresses: [`${uplink.core}/30`] });
    core.routes.push(
      `${access.network} via ${uplink.isp}`,
      ...[open.network, portMapping].map((to) => `${to} via ${uplink.isp}`),
    );
    this.#links.push(['core', `to-isp-${side}`, `isp-${side}`, 'uplink']);
  }

  /** Host, NAT, a carrier's NAT where there is one, wire; returns what translates. */
  #accessNetwork(side: SideName, nat: Nat): string[] {
    const { lan, access, open, carrier } = ADDRESSES[side];
    const router = nat.mapping === 'none' ? open.router : `${lan}.1`;
    const prefix = nat.mapping === 'none' ? 29 : 24;
    const inside = [{ name: 'lan', addresses: [`${router}/${prefix}`] }];
    this.#addHost(side, `${hostAddress(side, nat)}/${prefix}`, router, [`nat-${side}`, 'lan']);
    if (nat.shape !== 'carrier') {
      this.#addNat(`nat-${side}`, nat, accessAddresses(side, nat), access.isp, inside, access.nat);
      this.#connectToIsp(side, `nat-${side}`);
      return [`nat-${side}`];
    }
    const { portMapping, ...outer } = nat;
    this.#addNat(`nat-${side}`, { ...NATS['ei/apd'], portMapping }, [carrier.nat], carrier.router, inside);
    const carrierInside = [{ name: 'lan', addresses: [`${carrier.router}/24`] }];
    this.#addNat(`carrier-${side}`, outer, accessAddresses(side, nat), access.isp, carrierInside);
    this.#links.push([`nat-${side}`, 'wan', `carrier-${side}`, 'lan']);
    this.#connectToIsp(side, `carrier-${side}`);
    return [`nat-${side}`, `carrier-${side}`];
  }

  /**
   * IPv6 along the same boxes and links, each LAN in a /64 of its own:
   *
   *   host ::2 ─ ::1 nat (firewall) 1::2 ─ 1::1 isp 2::2 ─ 2::1 core ─ rendezvous
   */
  #addIPv6(side: SideName, kind: 'firewall' | 'only'): NonNullable<Side['ipv6']> {
    const network = SIDE_IPV6[side];
    const address = (node: string, name: string, text: string) =>
      this.#node(node)
        .interfaces.find((each) => each.name === name)!
        .addresses.push(`${text}/64`);
    const host = this.#node(`host-${side}`);
    if (kind === 'only') {
      host.interfaces[0]!.addresses.length = 0;
      host.routes.length = 0;
    }
    address(`host-${side}`, 'eth0', `${network}::2`);
    host.routes.push(`default via ${network}::1`);
    address(`nat-${side}`, 'lan', `${network}::1`);
    address(`nat-${side}`, 'wan', `${network}:1::2`);
    this.#node(`nat-${side}`).routes.push(`default via ${network}:1::1`);
    address(`isp-${side}`, 'access', `${network}:1::1`);
    address(`isp-${side}`, 'uplink', `${network}:2::2`);
    this.#node(`isp-${side}`).routes.push(
      `default via ${network}:2::1`,
      `${network}::/64 via ${network}:1::2`,
    );
    address('core', `to-isp-${side}`, `${network}:2::1`);
    this.#node('core').routes.push(`${network}::/48 via ${network}:2::2`);
    const peer = `${SIDE_IPV6[side === 'a' ? 'b' : 'a']}::2`;
    const rendezvous = [SERVER_IPV6.address];
    const remotes = { direct: [peer], rendezvous, relay: [], proxy: [] };
    const account = { side, address: `${network}::2`, remotes };
    this.#node(`nat-${side}`).rules += IPV6_FIREWALL + accountingRules('ip6', [account]);
    return { hostAddress: `${network}::2`, account };
  }

  #addServerIPv6(): void {
    const { address, gateway } = SERVER_IPV6;
    const server = this.#node('rendezvous');
    server.interfaces[0]!.addresses.push(`${address}/64`);
    server.routes.push(`default via ${gateway}`);
    const core = this.#node('core');
    core.interfaces.find(({ name }) => name === 'to-rendezvous')!.addresses.push(`${gateway}/64`);
  }

  #addHost(
    side: SideName,
    address: string,
    router: string,
    attached: readonly [node: string, port: string],
  ): void {
    const node = this.#add(`host-${side}`, false);
    node.interfaces.push({ name: 'eth0', addresses: [address] });
    node.routes.push(`default via ${router}`);
    this.#links.push([`host-${side}`, 'eth0', ...attached]);
  }

  #addNat(
    name: string,
    nat: Nat,
    addresses: PublicAddresses,
    gateway: string,
    inside: readonly Interface[],
    /** The router's own address in the access network, where the public one is another. */
    access = addresses[0],
  ): void {
    const node = this.#add(name, true);
    const prefix = gateway.startsWith('100.64.') ? 24 : 29;
    const owned = addresses.slice(0, nat.addresses) as [string, ...string[]];
    const attached = access === owned[0] ? owned : [access];
    const routed = owned.filter((address) => !attached.includes(address));
    node.interfaces.push(...inside, {
      name: 'wan',
      addresses: [
        ...attached.map((address) => `${address}/${prefix}`),
        ...routed.map((address) => `${address}/32`),
      ],
    });
    node.routes.push(`default via ${gateway}`);
    node.rules = natRules({ nat, publicAddresses: owned, proxyAddress: SERVERS.proxy[0] });
    if (nat.udpLifetimeSeconds !== undefined) {
      const value = String(nat.udpLifetimeSeconds);
      node.settings.push(['netfilter/nf_conntrack_udp_timeout', value]);
      node.settings.push(['netfilter/nf_conntrack_udp_timeout_stream', value]);
    }
  }

  #connectToIsp(side: SideName, outermost: string): void {
    if (!this.#wires) {
      this.#links.push([outermost, 'wan', `isp-${side}`, 'access']);
      return;
    }
    const wire = this.#add(`wire-${side}`, false);
    wire.interfaces.push({ name: 'inner', addresses: [] }, { name: 'outer', addresses: [] });
    this.#links.push(
      [outermost, 'wan', `wire-${side}`, 'inner'],
      [`wire-${side}`, 'outer', `isp-${side}`, 'access'],
    );
  }

  #add(name: string, forwards: boolean): Node {
    const node: Node = { interfaces: [], routes: [], forwards, settings: [], rules: '' };
    this.#nodes.set(name, node);
    return node;
  }

  #node(name: string): Node {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new SallyportError('INTERNAL', `the topology has no node ${name}`);
    return node;
  }
}

function hostAddress(side: SideName, nat: Nat): string {
  return nat.mapping === 'none' ? ADDRESSES[side].open.host : `${ADDRESSES[side].lan}.2`;
}

/** What others see of that side: the address that it has, those of a pool, and the one that it changes to. */
function publicAddresses(side: SideName, nat: Nat): PublicAddresses {
  return nat.mapping === 'none' ? [ADDRESSES[side].open.host] : accessAddresses(side, nat);
}

function accessAddresses(side: SideName, { portMapping, shape }: Nat): PublicAddresses {
  if (portMapping !== undefined && shape === 'single') return [ADDRESSES[side].portMapping];
  const { nat, others } = ADDRESSES[side].access;
  return [nat, ...others];
}

function translationOf(side: SideName, nat: Nat, node = `nat-${side}`): Side['translation'] {
  if (nat.mapping === 'none') return undefined;
  const behindHomeNats = nat.shape === 'carrier' || nat.shape === 'shared-carrier';
  const router = behindHomeNats ? ADDRESSES[side].carrier.router : `${ADDRESSES[side].lan}.1`;
  return { node, nat, addresses: accessAddresses(side, nat), router };
}

function accessLink(side: SideName, outermost = `nat-${side}`): Pick<Side, 'wire' | 'wireEnds'> {
  return {
    wire: `wire-${side}`,
    wireEnds: [
      [outermost, 'wan'],
      [`isp-${side}`, 'access'],
    ],
  };
}

function accountOf(side: SideName, address: string, peer: readonly string[]): AccountedHost {
  const remotes: Record<TrafficGroup, readonly string[]> = { direct: [...new Set(peer)], ...SERVERS };
  return { side, address, remotes };
}

function lanBridge(isolated: boolean): Interface[] {
  const ports = ['lan-a', 'lan-b'];
  return [
    ...ports.map((name) => ({ name, addresses: [] })),
    { name: 'lan', addresses: ['192.168.1.1/24'], ports, isolated },
  ];
}

function lanSegments(): Interface[] {
  return [
    { name: 'lan-a', addresses: ['192.168.1.1/24'] },
    { name: 'lan-b', addresses: ['192.168.2.1/24'] },
  ];
}
