import { cutRules, parseCounters, type NatCounters, type TrafficGroup } from './accounting.ts';
import { SERVER_IPV6, SERVERS, type SideName } from './addresses.ts';
import { startForeignTraffic } from './foreign-traffic.ts';
import { parseFlows, type Flow } from './flows.ts';
import { LabHost } from './host.ts';
import { Namespaces } from './namespaces.ts';
import type { NatName } from './nats.ts';
import { startMiniupnpd } from './port-mapping.ts';
import { natRules } from './ruleset.ts';
import { setUp } from './setup.ts';
import { planTopology, type Side, type Topology } from './topology.ts';
import { needsSinglePackets, Wire, type WireSettings } from './wire.ts';
import { SallyportError } from '../../src/core/errors.ts';

export { labSupport } from './support.ts';
export { NAT_NAMES, parseNatName, TRAIT_NAMES, type NatName } from './nats.ts';
export type { NatCounters, TrafficGroup } from './accounting.ts';
export type { SideName } from './addresses.ts';
export type { Flow } from './flows.ts';
export type { LabHost } from './host.ts';
export type { WireSettings } from './wire.ts';

/**
 * The NATs by name, and both access links' settings. `delayMs` is one way and per link: a host and the rendezvous are
 * 2 × delay apart there and back, two hosts 4 × delay. Without any link setting the links are plain ones.
 */
export interface LabOptions extends WireSettings {
  a: NatName;
  b: NatName;
  /** What routers that map ports grant at most. */
  leaseSeconds?: number | undefined;
}

export type HostName = 'a' | 'b' | 'rendezvous' | 'relay' | 'proxy';

interface SideAddressPair {
  /** The host's own. */
  readonly lan: string;
  /** What the public hosts see; the same where nothing is translated. */
  readonly public: string;
}

export interface LabAddresses {
  readonly a: SideAddressPair;
  readonly b: SideAddressPair;
  readonly rendezvous: readonly [string, string];
  /** Where one of the sides has IPv6. */
  readonly rendezvousIPv6: string | undefined;
  readonly relay: string;
  readonly proxy: string;
}

/** Two hosts behind real kernel NATs, and public servers, in network namespaces of this machine. */
export class Lab {
  readonly hosts: Readonly<Record<HostName, LabHost>>;
  readonly addresses: LabAddresses;
  readonly #namespaces: Namespaces;
  readonly #topology: Topology;
  readonly #wires = new Map<string, Wire>();

  private constructor(namespaces: Namespaces, topology: Topology) {
    this.#namespaces = namespaces;
    this.#topology = topology;
    const { a, b } = topology.sides;
    this.hosts = {
      a: new LabHost(namespaces, a.host, [a.hostAddress]),
      b: new LabHost(namespaces, b.host, [b.hostAddress]),
      rendezvous: new LabHost(namespaces, 'rendezvous', SERVERS.rendezvous),
      relay: new LabHost(namespaces, 'relay', SERVERS.relay),
      proxy: new LabHost(namespaces, 'proxy', SERVERS.proxy),
    };
    this.addresses = {
      a: { lan: a.hostAddress, public: a.publicAddress },
      b: { lan: b.hostAddress, public: b.publicAddress },
      rendezvous: SERVERS.rendezvous,
      rendezvousIPv6: a.ipv6 || b.ipv6 ? SERVER_IPV6.address : undefined,
      relay: SERVERS.relay[0],
      proxy: SERVERS.proxy[0],
    };
  }

  /** Throws USAGE for a pair that cannot be, UNSUPPORTED where the machine cannot (see `labSupport`). */
  static async create(options: LabOptions): Promise<Lab> {
    const { a, b, leaseSeconds, ...settings } = options;
    const wires = Object.values(settings).some((value) => value !== undefined);
    const topology = planTopology({ a, b, wires });
    const namespaces = await Namespaces.open([...topology.nodes.keys()]);
    const lab = new Lab(namespaces, topology);
    try {
      await setUp(namespaces, topology);
      await lab.#startWires(settings);
      await lab.#startPortMapping(leaseSeconds);
      await lab.#startForeignTraffic();
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  /** What the NAT next to that host has let through for it. */
  async natCounters(side: SideName): Promise<NatCounters> {
    const json = await this.#namespaces.run(this.#side(side).nat, 'nft -j list counters');
    return parseCounters(json, side);
  }

  /** What the NAT tracks now for that side's host; nothing where it is `open`, which translates and tracks nothing. */
  async natFlows(side: SideName): Promise<Flow[]> {
    const { nat, hostAddress } = this.#side(side);
    const flows = parseFlows(await this.#namespaces.run(nat, 'conntrack -L 2>/dev/null'));
    return flows.filter((flow) => [flow.original, flow.reply].some((tuple) => tuple.source === hostAddress));
  }

  /** Drops silently, at the NATs and from now on, what passes between the hosts and that group of remotes. */
  async cut(group: TrafficGroup): Promise<void> {
    await this.#changeCut('add', group);
  }

  /** Ends a `cut`. */
  async restore(group: TrafficGroup): Promise<void> {
    await this.#changeCut('delete', group);
  }

  /**
   * From now on, longer packets than that are dropped silently at the NATs on their way between the hosts and those groups of
   * remotes: a black hole of path MTU discovery (RFC 2923 §2.1). Over IPv4 only.
   */
  async dropLongPackets(bytes: number, ...groups: TrafficGroup[]): Promise<void> {
    const drop = async (name: SideName) => {
      const { nat, account } = this.#side(name);
      const remotes = groups.flatMap((group) => account.remotes[group]).join(', ');
      const rules = ['saddr', 'daddr'].map(
        (direction, index) =>
          `ip ${direction} ${account.address} ip ${index === 0 ? 'daddr' : 'saddr'} { ${remotes} } ip length > ${bytes} drop`,
      );
      const chain = ['type filter hook forward priority -10;', ...rules].join('\n');
      await this.#namespaces.run(
        nat,
        `nft -f - <<'RULES'\ntable ip narrow {\nchain narrowing {\n${chain}\n}\n}\nRULES\n`,
      );
    };
    // A bundle of short segments would be dropped as one long packet.
    const split = ({ name }: LabHost) => {
      const interfaces = this.#topology.nodes.get(name)?.interfaces ?? [];
      const script = interfaces.map((face) => `ip link set ${face.name} gso_max_segs 1\n`).join('');
      return this.#namespaces.run(name, script);
    };
    await Promise.all(Object.values(this.hosts).map(split));
    await Promise.all([drop('a'), drop('b')]);
  }

  /** The NAT next to that side's host forgets this one; what is sent next by the same ports is mapped anew. */
  async forgetFlow(side: SideName, { protocol, original }: Flow): Promise<void> {
    const { source, sourcePort, destination, destinationPort } = original;
    const tuple = `-s ${source} --sport ${sourcePort} -d ${destination} --dport ${destinationPort}`;
    // It may be gone already.
    await this.#namespaces.run(
      this.#side(side).nat,
      `conntrack -D -p ${protocol} ${tuple} >/dev/null 2>&1 || true`,
    );
  }

  /** The NATs of that side forget every mapping and contact, as after a restart. */
  async forgetMappings(side: SideName): Promise<void> {
    const script =
      'conntrack -F 2>/dev/null\nif nft list table ip translation >/dev/null 2>&1; then\n' +
      'nft flush map ip translation mappings\nnft flush set ip translation contacted\nfi\n';
    await Promise.all(this.#side(side).translators.map((nat) => this.#namespaces.run(nat, script)));
  }

  /**
   * The outermost NAT of that side loses its public address and gets another one, as when a provider renews a lease;
   * what it held for the old one is gone. Resolves with the new address. Not for pools and open hosts.
   */
  async changePublicAddress(side: SideName): Promise<string> {
    const { translation } = this.#side(side);
    if (translation === undefined || translation.nat.addresses > 1 || translation.addresses.length === 1)
      throw new SallyportError('USAGE', 'only a NAT with one public address can change it');
    const { node, nat, addresses, router } = translation;
    const [before, after = before] = addresses;
    const gateway = (await this.#namespaces.run(node, 'ip route show default')).split(' ')[2] ?? router;
    const rules = natRules({ nat, publicAddresses: [after], proxyAddress: SERVERS.proxy[0] });
    const script = [
      `ip address delete ${before}/29 dev wan`,
      `ip address add ${after}/29 dev wan`,
      `ip route replace default via ${gateway}`,
      `nft -f - <<'RULES'\ndelete table ip translation\ndelete table ip passage\n${rules}\nRULES`,
    ];
    await this.#namespaces.run(node, script.join('\n'));
    await this.forgetMappings(side);
    return after;
  }

  /** Nothing passes the access link of that side for so long. The lab must have been made with some link setting. */
  async linkOutage(side: SideName, ms: number): Promise<void> {
    await this.setLink(side, { lossPercent: 100 });
    await new Promise((resolve) => setTimeout(resolve, ms));
    await this.setLink(side, { lossPercent: 0 });
  }

  /** Changes the access link of one side while packets flow. The lab must have been made with some link setting. */
  async setLink(side: SideName, settings: WireSettings): Promise<void> {
    const wire = this.#wires.get(this.#side(side).wire);
    if (!wire)
      throw new SallyportError('USAGE', 'the lab was made with plain links: give it a delay, were it 0');
    if (needsSinglePackets(settings)) await this.#splitBundles(side);
    wire.change(settings);
  }

  /** The public ports that the router next to that host maps on request now, as `udp 40000 > 192.168.1.2:5000`. */
  async portMappings(side: SideName): Promise<string[]> {
    const rules = await this.#namespaces.run(
      this.#side(side).nat,
      'nft list chain inet filter prerouting_miniupnpd',
    );
    // The protocol stands there as a bare byte of the IP header: `@nh,72,8 0x11 th dport 40000 dnat ip to …`.
    const mapping = /0x(11|6) th dport (\d+) dnat (?:ip )?to ([\d.]+:\d+)/g;
    return [...rules.matchAll(mapping)].map(([, protocol, port, inside]) =>
      [protocol === '11' ? 'udp' : 'tcp', port, '>', inside].join(' '),
    );
  }

  /** Kills what still runs in the lab and removes it. */
  async close(): Promise<void> {
    await this.#namespaces.close();
    await Promise.all([...this.#wires.values()].map((wire) => wire.close()));
  }

  #side(side: SideName): Side {
    return this.#topology.sides[side];
  }

  async #startWires(settings: WireSettings): Promise<void> {
    const names = [...this.#topology.nodes.keys()].filter((name) => name.startsWith('wire-'));
    const start = async (name: string, index: number) => {
      const seed = (settings.seed ?? 1) * names.length + index;
      this.#wires.set(name, await Wire.start(this.#namespaces, name, { ...settings, seed }));
    };
    await Promise.all(names.map(start));
    if (names.length > 0 && needsSinglePackets(settings)) {
      await Promise.all([this.#splitBundles('a'), this.#splitBundles('b')]);
    }
  }

  async #startPortMapping(leaseSeconds: number | undefined): Promise<void> {
    const { a, b } = this.#topology.sides;
    const start = async ({ nat, translators, portMapping, publicAddress }: Side) => {
      if (portMapping === undefined) return;
      const outermost = translators.length === 1;
      const address = outermost ? publicAddress : undefined;
      await startMiniupnpd(this.#namespaces, {
        node: nat,
        service: portMapping,
        publicAddress: address,
        leaseSeconds,
      });
    };
    await Promise.all([start(a), start(b)]);
  }

  async #startForeignTraffic(): Promise<void> {
    const { a, b } = this.#topology.sides;
    const shared = a.translation?.node === b.translation?.node;
    const translations = (shared ? [a] : [a, b]).flatMap(({ translation }) => translation ?? []);
    const start = async ({ node, nat, router }: (typeof translations)[number]) => {
      if (nat.foreignPerSecond === 0) return;
      const host = new LabHost(this.#namespaces, node, [router]);
      await startForeignTraffic(host, nat.foreignPerSecond, this.addresses.proxy);
    };
    await Promise.all(translations.map(start));
  }

  /** From now on, segments leave one by one for the wire, where bundles would be faster. */
  async #splitBundles(side: SideName): Promise<void> {
    const split = ([node, name]: readonly [string, string]) =>
      this.#namespaces.run(node, `ip link set ${name} gso_max_segs 1`);
    await Promise.all(this.#side(side).wireEnds.map(split));
  }

  async #changeCut(action: 'add' | 'delete', group: TrafficGroup): Promise<void> {
    const change = ({ nat, account, families, ipv6 }: Side) => {
      const rules = [
        ...families.map((family) => cutRules(action, family, account, group)),
        ipv6 && ipv6.account.remotes[group].length > 0 ? cutRules(action, 'ip6', ipv6.account, group) : '',
      ].join('');
      return this.#namespaces.run(nat, `nft -f - <<'RULES'\n${rules}RULES\n`);
    };
    await Promise.all([change(this.#side('a')), change(this.#side('b'))]);
  }
}
