import type { Command } from 'commander';
import { integerBetween, stopSignal } from '../../src/cli/run.ts';
import { scopeOf } from '../../src/core/address.ts';
import { popularName, type PortAllocation, type TransportProfile } from '../../src/core/nat/behavior.ts';
import type { Transport } from '../../src/core/punch/candidate.ts';
import { hostAddresses } from '../../src/net/interfaces.ts';
import type { PortMappingReport } from '../../src/net/port-mapping.ts';
import { proxyFor } from '../../src/net/proxy.ts';
import type { Peer } from '../peer.ts';
import { prognosisFor, type Prognosis } from '../prognosis.ts';
import { reporterOf, startPeer, withPeerOptions, type SharedOptions } from './shared.ts';

interface NatOptions extends SharedOptions {
  timeout: number;
}

/** `peer nat` as scripts see it (docs/operations.md, "Output for scripts"). */
interface NatReport {
  readonly udp: TransportReport;
  readonly tcp: TransportReport;
  /** The popular name of what UDP meets. */
  readonly type: string;
  /** `null` where no router maps ports on request. */
  readonly portMapping: PortMappingReport | null;
  readonly ipv6: boolean;
  readonly cgnat: boolean | null;
  readonly proxy: boolean;
  readonly servers: string;
  readonly prognosis: readonly Prognosis[];
}

interface TransportReport {
  readonly reachable: boolean | null;
  readonly mapping: string;
  readonly filtering: string;
  readonly allocation: string;
  readonly hairpin: boolean | null;
  readonly lifetimeSeconds: number | null;
  readonly public: readonly string[];
  readonly type: string;
  /** True where one server address had to do: a second one could tell more. */
  readonly provisional: boolean;
}

/** `peer nat`: what the NATs in front of this host do, and whom that lets it reach directly. */
export function addNatCommand(program: Command): void {
  withPeerOptions(program.command('nat').description('NAT-type diagnostic'))
    .option('--timeout <seconds>', 'how long to measure at most', integerBetween(1, 600), 5)
    .action(nat);
}

async function nat(options: NatOptions): Promise<void> {
  const reporter = reporterOf(options);
  const stop = stopSignal();
  const peer = await startPeer({ ...options, quiet: true }, reporterOf({ quiet: true }), {
    role: 'dial',
    signal: stop,
  });
  try {
    await peer.network.diagnosed(options.timeout * 1_000, stop);
    const report = reportOf(peer);
    reporter.report(report, words(report));
  } finally {
    await peer.close();
  }
}

function reportOf(peer: Peer): NatReport {
  const { udp, tcp } = peer.profile;
  const addresses = hostAddresses();
  return {
    udp: transportReport(udp),
    tcp: transportReport(tcp),
    type: popularName(udp),
    portMapping: peer.network.portMapping,
    ipv6: addresses.some(({ family, scope }) => family === 6 && scope === 'public'),
    // Only an address of the carrier's own range is proof; without a port mapping protocol nothing else tells.
    cgnat: addresses.some(({ address }) => scopeOf(address) === 'shared') ? true : null,
    proxy: proxyFor(new URL(peer.rendezvous), process.env) !== undefined,
    servers: peer.rendezvous,
    prognosis: prognosisFor(peer.profile),
  };
}

function transportReport(profile: TransportProfile): TransportReport {
  const {
    reachable,
    mapping,
    filtering,
    allocation,
    hairpin,
    lifetimeSeconds,
    publicAddresses,
    provisional,
  } = profile;
  return {
    reachable: reachable ?? null,
    mapping,
    filtering,
    allocation: allocationText(allocation),
    hairpin: hairpin ?? null,
    lifetimeSeconds: lifetimeSeconds ?? null,
    public: publicAddresses,
    type: popularName(profile),
    provisional,
  };
}

function allocationText(allocation: PortAllocation): string {
  return allocation.kind === 'sequential' ? `sequential(${allocation.step})` : allocation.kind;
}

function words(report: NatReport): string {
  const { udp, tcp, portMapping, ipv6, proxy, servers, prognosis } = report;
  const lines = [
    `Your NAT for UDP is ${article(udp.type)}; for TCP ${article(tcp.type)}.`,
    '',
    ...transportWords('udp', udp),
    '',
    ...transportWords('tcp', tcp),
    '',
    `Ports: ${portMappingWords(portMapping)}`,
    `IPv6:  ${ipv6 ? 'this host has a global address' : 'no global address on this host'}`,
    ...(proxy ? ['Proxy: signalling and relay go through an HTTP proxy'] : []),
    '',
    'Whom you reach directly, and how:',
    ...prognosis.map(({ remote, udp, tcp }) => `  ${remote.padEnd(42)} ${outcome(udp, tcp)}`),
    '',
    `Measured against ${servers}.`,
  ];
  if (udp.provisional && udp.reachable !== false) {
    lines.push('It has one address, so what depends on the address contacted could not be told apart.');
  }
  return lines.join('\n');
}

function article(type: string): string {
  const named = ['open', 'firewall', 'blocked', 'unknown'];
  return named.includes(type) ? `"${type}"` : `a "${type}" NAT`;
}

function transportWords(transport: Transport, report: TransportReport): string[] {
  const title = transport.toUpperCase();
  if (report.reachable === false) return [`${title}:   does not get out of this network`];
  if (report.reachable === null) return [`${title}:   nothing measured in time`];
  return [
    `${title}:   seen from outside at ${report.public.join(', ') || 'no address'}`,
    `  mapping:    ${report.mapping}: ${MAPPING_MEANS[report.mapping] ?? ''}`,
    `  filtering:  ${report.filtering}: ${FILTERING_MEANS[report.filtering] ?? ''}`,
    `  ports:      ${report.allocation}`,
  ];
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

function outcome(udp: Prognosis['udp'], tcp: Prognosis['tcp']): string {
  const parts = Object.entries({ UDP: udp, TCP: tcp }).flatMap(([name, way]) =>
    way ? [`${name} by ${way.technique} (${Math.round(100 * way.probability)} %)`] : [],
  );
  return parts.length > 0 ? parts.join(', ') : 'relayed';
}
