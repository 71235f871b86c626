import { popularName, type NatProfile, type PortAllocation, type TransportProfile } from './behavior.ts';
import type { Transport } from '../punch/candidate.ts';

/** Something is known of it, be it that nothing passes. */
export function isMeasured({ reachable, mapping }: TransportProfile): boolean {
  return reachable === false || (reachable === true && mapping !== 'unknown');
}

/** What a NAT does with one transport over IPv4, in words that follow "the NAT". */
export function natWords(transport: Transport, { [transport]: profile, ipv6 }: NatProfile): string {
  const { reachable, mapping, filtering } = profile;
  if (reachable === false) {
    const instead = ipv6?.[transport].reachable ? ' over IPv4, but over IPv6' : '';
    return `lets no ${transport.toUpperCase()} out${instead}`;
  }
  if (!isMeasured(profile)) return 'is not measured yet';
  if (mapping === 'none') {
    return filtering === 'none'
      ? 'is none: the host has a public address and takes what comes'
      : `is none: the host has a public address; a firewall ${ADMITS[filtering] || 'filters'}`;
  }
  const ports =
    mapping === 'endpoint-independent' ? 'keeps one port for all destinations' : dependenceWords(profile);
  return [ports, ADMITS[filtering]].filter(Boolean).join('; ') + ` (${popularName(profile)})`;
}

/** How a mapping that depends on the destination is made. */
export function dependenceWords({ mapping, allocation }: TransportProfile): string {
  const each = mapping === 'address-dependent' ? 'address' : 'destination';
  return `uses another port for each ${each}${ORDER[allocation.kind]}`;
}

const ORDER: Record<PortAllocation['kind'], string> = {
  preserving: ', the inner one where it can',
  sequential: ', counting up',
  random: ', at random',
  unknown: '',
};

const ADMITS: Record<TransportProfile['filtering'], string> = {
  none: 'lets anybody in',
  'endpoint-independent': 'lets anybody in',
  'address-dependent': 'lets in only addresses that were sent to',
  'address-and-port-dependent': 'lets in only ports that were sent to',
  unknown: '',
};
