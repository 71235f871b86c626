import { popularName, type PortAllocation, type TransportProfile } from './behavior.ts';
import type { Transport } from '../punch/candidate.ts';

/** What a NAT does with one transport, in words that follow "the NAT". */
export function natWords(transport: Transport, profile: TransportProfile): string {
  const { reachable, mapping, filtering, allocation } = profile;
  if (reachable === false) return `lets no ${transport.toUpperCase()} out`;
  if (reachable === undefined || mapping === 'unknown') return 'is not measured yet';
  if (mapping === 'none') {
    return filtering === 'none'
      ? 'is none: the host has a public address and takes what comes'
      : `is none: the host has a public address; a firewall ${ADMITS[filtering] || 'filters'}`;
  }
  const ports =
    mapping === 'endpoint-independent' ? 'keeps one port for all destinations' : dependent(mapping);
  const order = mapping === 'endpoint-independent' ? '' : ORDER[allocation.kind];
  return [`${ports}${order}`, ADMITS[filtering]].filter(Boolean).join('; ') + ` (${popularName(profile)})`;
}

function dependent(mapping: 'address-dependent' | 'address-and-port-dependent'): string {
  return `uses another port for each ${mapping === 'address-dependent' ? 'address' : 'destination'}`;
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
