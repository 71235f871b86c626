import type { Transport } from '../src/core/punch/candidate.ts';
import type { PortMappingReport } from '../src/net/port-mapping.ts';
import type { NatReport, TransportReport } from './nat-report.ts';
import type { Prognosis } from './prognosis.ts';

/** `peer nat` for people: each behaviour, and what it means in one line. */
export function natReportWords(report: NatReport): string {
  const { udp, tcp, overIPv6, notes, prognosis } = report;
  return [
    `For UDP: ${nameOf(udp, overIPv6?.udp)}. For TCP: ${nameOf(tcp, overIPv6?.tcp)}.`,
    '',
    ...transportWords('udp', report),
    '',
    ...transportWords('tcp', report),
    '',
    ...networkWords(report),
    '',
    'Whom you reach directly, and how:',
    ...prognosis.map(
      ({ remote, udp: byUdp, tcp: byTcp }) => `  ${remote.padEnd(42)} ${outcome(byUdp, byTcp)}`,
    ),
    '',
    ...notes.map((note) => `Note: ${note}.`),
    measuredWords(report),
  ].join('\n');
}

function nameOf(report: TransportReport, over6: TransportReport | undefined): string {
  const { type, confidence } = report;
  if (type === 'unknown') return 'not measured';
  const name = NAMES[type] ?? `a "${type}" NAT`;
  return `${name}${over4Alone(report, over6)} (${Math.round(100 * confidence)} % sure)`;
}

/** What doesn't get out over IPv4 may do so over IPv6. */
function over4Alone({ reachable }: TransportReport, over6: TransportReport | undefined): string {
  return reachable === false && over6?.reachable === true ? ' over IPv4' : '';
}

const NAMES: Readonly<Record<string, string>> = {
  open: 'open, no NAT',
  'no NAT': 'no NAT',
  firewall: 'a firewall, no NAT',
  blocked: 'blocked',
};

/** One that has only just ended needs no age. */
function measuredWords({ servers, udp, tcp, tookMs, ageSeconds }: NatReport): string {
  const within = tookMs === null ? '' : ` in ${(tookMs / 1_000).toFixed(1)} s`;
  const ago = ageSeconds === null || ageSeconds < OLD_S ? '' : `, ${ageSeconds} s ago`;
  const stun = [...new Set([...udp.servers, ...tcp.servers])].filter((server) => server !== servers);
  const by = stun.length === 0 ? '' : ` by STUN at ${stun.join(', ')}`;
  return `Diagnosed${within}${ago}, against ${servers}${by}.`;
}

const OLD_S = 30;

function transportWords(transport: Transport, { [transport]: report, overIPv6 }: NatReport): string[] {
  const title = transport.toUpperCase();
  if (report.reachable === false)
    return [`${title}:   does not get out of this network${over4Alone(report, overIPv6?.[transport])}`];
  if (report.reachable === null) {
    const why =
      report.servers.length === 0
        ? 'over IPv4: no STUN server has it'
        : 'in time: try a longer --timeout, or when this computer has less to do';
    return [`${title}:   nothing measured ${why}`];
  }
  const line = (name: string, value: string, means: string | undefined) =>
    `  ${`${name}:`.padEnd(11)} ${value}${means === undefined ? '' : `: ${means}`}`;
  const { mapping, filtering, allocation, strays, hairpin, lifetimeSeconds } = report;
  return [
    `${title}:   seen from outside at ${report.public.join(', ') || 'no address'}`,
    line('mapping', mapping, MAPPING_MEANS[mapping]),
    line('filtering', filtering, FILTERING_MEANS[filtering]),
    line('ports', allocation, ALLOCATION_MEANS[allocation.replace(/\(.*/, '')]),
    ...(strays === 'unknown' ? [] : [line('strays', strays, STRAYS_MEANS[strays])]),
    ...(hairpin === null ? [] : [line('hairpin', hairpin ? 'yes' : 'not seen', HAIRPIN_MEANS[`${hairpin}`])]),
    ...(lifetimeSeconds === null ? [] : [line('lifetime', lifetimeText(lifetimeSeconds), LIFETIME_MEANS)]),
  ];
}

function networkWords({ ipv6, overIPv6, cgnat, proxy, portMapping }: NatReport): string[] {
  return [
    `IPv6:         ${ipv6Words(ipv6, overIPv6)}`,
    `Port mapping: ${portMappingWords(portMapping)}`,
    ...(cgnat
      ? ["Carrier NAT:  yes: your router's own address is not public, so mapping a port there is not enough"]
      : []),
    ...(proxy ? ['Proxy:        signalling and relay go through an HTTP proxy'] : []),
  ];
}

function ipv6Words(hasAddress: boolean, over6: NatReport['overIPv6']): string {
  if (!over6)
    return hasAddress
      ? 'this host has a global address, but reached no server by it'
      : 'no global address on this host';
  const { udp, tcp } = over6;
  const seen = [...new Set([...udp.public, ...tcp.public])].join(', ');
  return `gets out, seen at ${seen}; UDP meets ${obstacleOver6(udp)}, TCP ${obstacleOver6(tcp)}`;
}

/** Servers have one address over IPv6, which can't tell a filter for addresses from none. */
function obstacleOver6({ reachable, mapping, filtering }: TransportReport): string {
  if (reachable !== true) return 'a wall';
  const nat = mapping === 'none' ? '' : 'a NAT and ';
  if (filtering === 'none' || filtering === 'endpoint-independent') return `${nat}no filter`;
  return filtering === 'address-and-port-dependent'
    ? `${nat}a firewall that lets in answers only`
    : `${nat}perhaps a firewall`;
}

function portMappingWords(report: PortMappingReport | null): string {
  if (report === null) return 'no router maps any on request (UPnP, NAT-PMP, PCP)';
  const { protocol, externalAddress, ports, verified, note } = report;
  const name = { pcp: 'PCP', 'nat-pmp': 'NAT-PMP', upnp: 'UPnP' }[protocol];
  if (note !== null) return `the router maps some by ${name}, to no avail: ${note}`;
  const reached = (['udp', 'tcp'] as const)
    .filter((transport) => verified[transport])
    .map((transport) => `${transport.toUpperCase()} ${ports[transport]}`);
  return `the router maps some by ${name}, reached from outside: ${externalAddress} ${reached.join(', ')}`;
}

function lifetimeText(seconds: number): string {
  if (seconds === 0) return 'less than 10 s';
  return seconds === LONGEST_LIFETIME ? `${seconds} s or more` : `at least ${seconds} s`;
}

const MAPPING_MEANS: Record<string, string> = {
  none: 'this host has a public address of its own',
  'endpoint-independent': 'one outer port for all destinations, so peers know where to find you',
  'address-dependent': 'another outer port for each address that you contact',
  'address-and-port-dependent': 'another outer port for each destination, so peers cannot know it beforehand',
  unknown: 'could not be told',
};

const FILTERING_MEANS: Record<string, string> = {
  none: 'anybody may send to you',
  'endpoint-independent': 'anybody may send to a port that you use',
  'address-dependent': 'only addresses that you sent to may answer',
  'address-and-port-dependent': 'only the very address and port that you sent to may answer',
  unknown: 'could not be told; treated as the strictest',
};

const ALLOCATION_MEANS: Record<string, string> = {
  preserving: 'the outer port is the inner one where it is free',
  sequential: 'the outer ports are counted, so the next one can be predicted',
  random: 'the outer ports are picked at random, so peers have to search for them',
  unknown: 'could not be told',
};

const STRAYS_MEANS: Record<string, string> = {
  drop: 'what nobody asked for is dropped in silence, which lets two ends dial one another at leisure',
  reset: 'what nobody asked for is refused at once, so two ends have to dial at the very same time',
};

const HAIRPIN_MEANS: Record<string, string> = {
  true: 'two hosts behind this NAT reach one another by its public address',
  false: 'two hosts behind this NAT need local addresses to reach one another',
};

const LIFETIME_MEANS = 'so long a mapping outlives the last packet';
const LONGEST_LIFETIME = 120;

function outcome(udp: Prognosis['udp'], tcp: Prognosis['tcp']): string {
  const parts = Object.entries({ UDP: udp, TCP: tcp }).flatMap(([name, way]) =>
    way ? [`${name} by ${way.technique} (${Math.round(100 * way.probability)} %)`] : [],
  );
  return parts.length > 0 ? parts.join(', ') : 'relayed';
}
