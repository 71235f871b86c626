/** Which remote hosts a flow belongs to; `direct` is the other side, at any of its addresses. */
const TRAFFIC_GROUPS = ['direct', 'rendezvous', 'relay', 'proxy'] as const;
export type TrafficGroup = (typeof TRAFFIC_GROUPS)[number];

const PROTOCOLS = ['udp', 'tcp'] as const;
const DIRECTIONS = ['sent', 'received'] as const;

/** Packets are what the kernel forwarded at once: several segments of one flow may count as one. Bytes are exact. */
export interface Traffic {
  packets: number;
  bytes: number;
}

/** What a NAT has let through for the host behind it. Counters only grow; expired mappings change nothing. */
export type NatCounters = Record<
  TrafficGroup,
  Record<(typeof PROTOCOLS)[number], Record<(typeof DIRECTIONS)[number], Traffic>>
>;

/** A host behind a NAT, under its inside address, and the addresses that its traffic is told apart by. */
export interface AccountedHost {
  readonly side: 'a' | 'b';
  readonly address: string;
  readonly remotes: Readonly<Record<TrafficGroup, readonly string[]>>;
}

/**
 * The rules that count and cut what is forwarded, in the forward hook: before translation on the way out and after it
 * on the way in, so that the host is seen under its inside address both ways. `bridge` is for hosts that share a LAN.
 */
export function accountingRules(family: 'ip' | 'ip6' | 'bridge', hosts: readonly AccountedHost[]): string {
  const ip = family === 'ip6' ? 'ip6' : 'ip';
  const names = hosts.flatMap(({ side }) => counterNames(side));
  return `
table ${family} accounting {
  ${names.map((name) => `counter ${name} { }`).join('\n  ')}
  set cut { type ${ADDRESS_TYPE[ip]} . ${ADDRESS_TYPE[ip]}; }
  ${hosts.map((host) => trafficMap(host, ADDRESS_TYPE[ip])).join('\n  ')}
  chain cutting {
    type filter hook forward priority -10;
    ${ip} saddr . ${ip} daddr @cut drop
    ${ip} daddr . ${ip} saddr @cut drop
  }
  chain counting {
    type filter hook forward priority 10;
    ${hosts.map(({ side }) => `counter name ${ip} saddr . ${ip} daddr . meta l4proto map @traffic_${side}`).join('\n    ')}
  }
}
`;
}

/** The commands that drop from now on, or no longer, what passes between a host and a group of remotes. */
export function cutRules(
  action: 'add' | 'delete',
  family: string,
  host: AccountedHost,
  group: TrafficGroup,
): string {
  const pairs = host.remotes[group].map((remote) => `${host.address} . ${remote}`);
  return `${action} element ${family} accounting cut { ${pairs.join(', ')} }\n`;
}

/** Reads the output of `nft -j list counters`; a name that several families have is summed. */
export function parseCounters(json: string, side: 'a' | 'b'): NatCounters {
  const { nftables } = JSON.parse(json) as { nftables: { counter?: { name: string } & Traffic }[] };
  const sums = new Map<string, Traffic>();
  for (const { counter } of nftables) {
    if (counter === undefined) continue;
    const sum = sums.get(counter.name) ?? { packets: 0, bytes: 0 };
    sums.set(counter.name, { packets: sum.packets + counter.packets, bytes: sum.bytes + counter.bytes });
  }
  const traffic = (name: string): Traffic => sums.get(name) ?? { packets: 0, bytes: 0 };
  const byDirection = (prefix: string) => keyed(DIRECTIONS, (direction) => traffic(`${prefix}_${direction}`));
  const byProtocol = (prefix: string) => keyed(PROTOCOLS, (protocol) => byDirection(`${prefix}_${protocol}`));
  return keyed(TRAFFIC_GROUPS, (group) => byProtocol(`${side}_${group}`));
}

function counterNames(side: string): string[] {
  return TRAFFIC_GROUPS.flatMap((group) =>
    PROTOCOLS.flatMap((protocol) =>
      DIRECTIONS.map((direction) => `${side}_${group}_${protocol}_${direction}`),
    ),
  );
}

const ADDRESS_TYPE = { ip: 'ipv4_addr', ip6: 'ipv6_addr' } as const;

function trafficMap({ side, address, remotes }: AccountedHost, addressType: string): string {
  const elements = TRAFFIC_GROUPS.flatMap((group) =>
    remotes[group].flatMap((remote) =>
      PROTOCOLS.flatMap((protocol) => [
        `${address} . ${remote} . ${protocol} : "${side}_${group}_${protocol}_sent"`,
        `${remote} . ${address} . ${protocol} : "${side}_${group}_${protocol}_received"`,
      ]),
    ),
  );
  const type = `type ${addressType} . ${addressType} . inet_proto : counter`;
  return `map traffic_${side} { ${type}; elements = { ${elements.join(', ')} } }`;
}

function keyed<Key extends string, Value>(
  keys: readonly Key[],
  value: (key: Key) => Value,
): Record<Key, Value> {
  return Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<Key, Value>;
}
