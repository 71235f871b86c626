import type { Nat } from './nats.ts';

export interface NatPlacement {
  readonly nat: Nat;
  /** As many as `nat` has. */
  readonly publicAddresses: readonly [string, ...string[]];
  readonly proxyAddress: string;
}

/**
 * The nftables rules of a NAT whose inner interfaces are named `lan…` and whose outer one is `wan`.
 *
 * Connection tracking alone gives address-and-port-dependent filtering. Wider filtering keeps two tables as a NAT
 * does: `mappings` (public port → inside endpoint) and `contacted` (public port, remote address), both filled from
 * outgoing packets once they are translated; a stray that they allow becomes a translated flow inwards.
 */
export function natRules(placement: NatPlacement): string {
  if (placement.nat.mapping === 'none') return '';
  return `
table ip translation {
  map mappings { type inet_proto . inet_service : ipv4_addr . inet_service; flags dynamic,timeout; size 65535; }
  set contacted { type inet_proto . inet_service . ipv4_addr; flags dynamic,timeout; size 65535; }
  chain inward {
    type nat hook prerouting priority dstnat;
    ${inwardRules(placement).join('\n    ')}
  }
  chain outward {
    type nat hook postrouting priority srcnat;
    ${outwardRules(placement).join('\n    ')}
  }
  chain record {
    type filter hook postrouting priority srcnat + 50;
    ${recordRules(placement.nat).join('\n    ')}
  }
}
table ip passage {
  chain crossing {
    type filter hook prerouting priority raw;
    ${crossingRules(placement.nat).join('\n    ')}
  }
  chain forward {
    type filter hook forward priority filter;
    ct state invalid drop
    ${placement.nat.passage === 'everything' ? '' : 'meta l4proto udp drop'}
    ct state established,related accept
    ct status dnat accept
    iifname "lan*" oifname "wan" ${passageMatch(placement)} accept
    drop
  }
  chain input {
    type filter hook input priority filter;
    ${strayRules(placement.nat).join('\n    ')}
  }
}
${placement.nat.portMapping === undefined ? '' : PORT_MAPPING_CHAINS}`;
}

/** A stateful firewall (RFC 6092): everything may leave, answers come in, nothing is translated, strays are dropped. */
export const IPV6_FIREWALL = `
table ip6 firewall {
  chain forward {
    type filter hook forward priority filter;
    ct state established,related accept
    iifname "lan*" oifname "wan" ct state new accept
    drop
  }
}
`;

const TO_MAPPING = 'dnat ip to meta l4proto . th dport map @mappings';

function inwardRules({ nat, publicAddresses }: NatPlacement): string[] {
  const rules = [];
  // The provider may go on sending here what is for an address that was ours once.
  const fromOutside = `iifname "wan" ip daddr { ${publicAddresses.join(', ')} }`;
  if (nat.filtering === 'endpoint-independent') rules.push(`${fromOutside} ${TO_MAPPING}`);
  if (nat.filtering === 'address-dependent') {
    rules.push(`${fromOutside} meta l4proto . th dport . ip saddr @contacted ${TO_MAPPING}`);
  }
  if (nat.hairpin !== 'none') rules.push(`iifname "lan*" ip daddr ${publicAddresses[0]} ${TO_MAPPING}`);
  return rules;
}

function outwardRules({ nat, publicAddresses }: NatPlacement): string[] {
  const rules = [];
  const [first] = publicAddresses;
  if (nat.hairpin === 'external-source')
    rules.push(`oifname "lan*" ct original ip daddr ${first} snat to ${first}`);
  const address = addressExpression(nat, publicAddresses);
  if (nat.allocation === 'random') rules.push(`oifname "wan" snat to ${address} fully-random`);
  for (const protocol of ['tcp', 'udp']) {
    const port = portExpression(nat, protocol);
    if (port) rules.push(`oifname "wan" meta l4proto ${protocol} snat ip to ${first} : ${port}`);
  }
  // Without a port, the kernel keeps the inside port where it is free.
  return [...rules, `oifname "wan" snat to ${address}`];
}

/** RFC 4787 §4.1: pooling is paired where the mapping is endpoint-independent, and arbitrary elsewhere. */
function addressExpression({ mapping }: Nat, addresses: NatPlacement['publicAddresses']): string {
  if (addresses.length === 1) return addresses[0];
  const choice = mapping === 'endpoint-independent' ? 'jhash ip saddr' : 'numgen random';
  const choices = addresses.map((address, index) => `${index} : ${address}`);
  return `${choice} mod ${addresses.length} map { ${choices.join(', ')} }`;
}

function portExpression(nat: Nat, protocol: string): string | undefined {
  if (nat.allocation === 'sequential')
    return `numgen inc mod ${SEQUENCE.length} map { ${SEQUENCE.join(', ')} }`;
  const source = `ip saddr . ${protocol} sport`;
  if (nat.allocation === 'by-source') return `jhash ${source} mod 40000 offset 20000`;
  if (nat.allocation === 'by-destination') return `jhash ${source} . ip daddr mod 40000 offset 20000`;
  return undefined;
}

/**
 * The n-th flow's port, as a map: a bare `numgen … offset 20000` would be taken in the machine's byte order, and so
 * count in steps of 256 on a little-endian one. A hash may be taken in either order. The rules have to fit into one
 * netlink message of the default socket buffer, which is all that a user namespace gets.
 */
const SEQUENCE = Array.from({ length: 1024 }, (_, count) => `${count} : ${20000 + count}`);

/** What inside hosts have sent, and not the NAT's own refusals of strays: those are answers. */
function recordRules(nat: Nat): string[] {
  if (nat.filtering === 'address-and-port-dependent' && nat.hairpin === 'none') return [];
  const outgoing = 'oifname "wan" ct direction original meta l4proto { tcp, udp }';
  const seconds = nat.udpLifetimeSeconds ?? 300;
  const inside = 'ct original ip saddr . ct original proto-src';
  return [
    // An update would keep the inside port that had this one before.
    `${outgoing} ct state new delete @mappings { meta l4proto . th sport : ${inside} }`,
    `${outgoing} update @mappings { meta l4proto . th sport timeout ${seconds}s : ${inside} }`,
    `${outgoing} update @contacted { meta l4proto . th sport . ip daddr timeout ${seconds}s }`,
  ];
}

function passageMatch({ nat, proxyAddress }: NatPlacement): string {
  switch (nat.passage) {
    case 'everything':
    case 'tcp':
      return '';
    case 'tcp-443':
      return 'tcp dport 443';
    case 'proxy':
      return `ip daddr ${proxyAddress} tcp dport 3128`;
  }
}

/**
 * Refuses a SYN while our own is out, before connection tracking sees it: what it saw would decide on later SYNs. That
 * takes a filter which lets nothing else in that begins with a SYN; then strays meet the same.
 */
function crossingRules({ crossingSyns, filtering }: Nat): string[] {
  if (crossingSyns === 'allow' || filtering !== 'address-and-port-dependent') return [];
  const syn = 'iifname "wan" tcp flags & (fin | syn | rst | ack) == syn';
  return [`${syn} ${crossingSyns === 'rst' ? 'reject with tcp reset' : 'drop'}`];
}

/** Strays are dropped before connection tracking confirms them: they leave no trace that could move a later mapping. */
function strayRules(nat: Nat): string[] {
  if (nat.strays === 'accept') return [];
  const fromInside = nat.portMapping === undefined ? [] : ['iifname "lan*" accept'];
  if (nat.portMapping === 'nat-pmp') fromInside.unshift(WITHOUT_PCP);
  const answers = [
    'tcp flags & (fin | syn | rst | ack) == syn ct state new reject with tcp reset',
    'meta l4proto udp ct state new reject with icmp type port-unreachable',
  ];
  const drop = 'meta l4proto { tcp, udp } ct state != { established, related } drop';
  return [...fromInside, ...(nat.strays === 'rst' ? answers : []), drop];
}

/** miniupnpd speaks PCP, which is version 2 in a request's first byte, wherever it speaks NAT-PMP, which is 0. */
const WITHOUT_PCP = 'iifname "lan*" udp dport 5351 @th,64,8 2 drop';

/** Where miniupnpd writes its rules, by the names that it takes where none are configured. */
const PORT_MAPPING_CHAINS = `
table inet filter {
  chain forward { type filter hook forward priority filter; jump miniupnpd; }
  chain prerouting { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority srcnat; jump postrouting_miniupnpd; }
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
`;
