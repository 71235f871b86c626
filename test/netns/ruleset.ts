import type { Nat } from './nats.ts';

export interface NatPlacement {
  readonly nat: Nat;
  readonly publicAddress: string;
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

const TO_MAPPING = 'dnat ip to meta l4proto . th dport map @mappings';

function inwardRules({ nat, publicAddress }: NatPlacement): string[] {
  const rules = [];
  if (nat.filtering === 'endpoint-independent') rules.push(`iifname "wan" ${TO_MAPPING}`);
  if (nat.filtering === 'address-dependent') {
    rules.push(`iifname "wan" meta l4proto . th dport . ip saddr @contacted ${TO_MAPPING}`);
  }
  if (nat.hairpin !== 'none') rules.push(`iifname "lan*" ip daddr ${publicAddress} ${TO_MAPPING}`);
  return rules;
}

function outwardRules({ nat, publicAddress }: NatPlacement): string[] {
  const rules = [];
  if (nat.hairpin === 'external-source')
    rules.push(`oifname "lan*" ct original ip daddr ${publicAddress} snat to ${publicAddress}`);
  if (nat.allocation === 'random') rules.push(`oifname "wan" snat to ${publicAddress} fully-random`);
  for (const protocol of ['tcp', 'udp']) {
    const port = portExpression(nat, protocol);
    if (port) rules.push(`oifname "wan" meta l4proto ${protocol} snat ip to ${publicAddress} : ${port}`);
  }
  // Without a port, the kernel keeps the inside port where it is free.
  return [...rules, `oifname "wan" snat to ${publicAddress}`];
}

function portExpression(nat: Nat, protocol: string): string | undefined {
  if (nat.allocation === 'sequential')
    return `numgen inc mod ${SEQUENCE.length} map { ${SEQUENCE.join(', ')} }`;
  if (nat.allocation === 'by-destination') {
    return `jhash ip saddr . ${protocol} sport . ip daddr mod 40000 offset 20000`;
  }
  return undefined;
}

/**
 * The n-th flow's port, as a map: a bare `numgen … offset 20000` would be taken in the machine's byte order, and so
 * count in steps of 256 on a little-endian one. A hash may be taken in either order. The rules have to fit into one
 * netlink message of the default socket buffer, which is all that a user namespace gets.
 */
const SEQUENCE = Array.from({ length: 1024 }, (_, count) => `${count} : ${20000 + count}`);

function recordRules(nat: Nat): string[] {
  if (nat.filtering === 'address-and-port-dependent' && nat.hairpin === 'none') return [];
  const outgoing = 'oifname "wan" meta l4proto { tcp, udp }';
  return [
    `${outgoing} update @mappings { meta l4proto . th sport timeout 5m : ct original ip saddr . ct original proto-src }`,
    `${outgoing} update @contacted { meta l4proto . th sport . ip daddr timeout 5m }`,
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

/** Strays are dropped before connection tracking confirms them: they leave no trace that could move a later mapping. */
function strayRules(nat: Nat): string[] {
  if (nat.strays === 'accept') return [];
  const fromInside = nat.portMapping === undefined ? [] : ['iifname "lan*" accept'];
  const answer = 'tcp flags & (fin | syn | rst | ack) == syn ct state new reject with tcp reset';
  const drop = 'meta l4proto { tcp, udp } ct state != { established, related } drop';
  return [...fromInside, ...(nat.strays === 'rst' ? [answer] : []), drop];
}

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
