import { UNMEASURED, type NatProfile, type TransportProfile } from '../../../src/core/nat/behavior.ts';
import type { Nat } from '../../sim/nat.ts';

/** What a perfect discovery would say about a host behind these NATs, innermost first. */
export function profileOf(nats: readonly Nat[], address: string): NatProfile {
  return { version: 1, udp: transportOf('udp', nats, address), tcp: transportOf('tcp', nats, address) };
}

function transportOf(transport: 'udp' | 'tcp', nats: readonly Nat[], address: string): TransportProfile {
  const outermost = nats.at(-1);
  if (!outermost) {
    return {
      ...UNMEASURED,
      reachable: true,
      mapping: 'none',
      filtering: 'none',
      provisional: false,
      publicAddresses: [address],
    };
  }
  const behaviors = nats.map(({ behavior }) => behavior[transport]);
  const { onlyPorts } = outermost.behavior.tcp;
  const reachable = !behaviors.some(({ blocked }) => blocked) && !(transport === 'tcp' && onlyPorts);
  if (!reachable) return { ...UNMEASURED, reachable, provisional: false };
  const { mapping, allocation } = outermost.behavior[transport];
  return {
    ...UNMEASURED,
    reachable,
    mapping,
    // The strictest filter on the way decides, and every home NAT here is at least as strict as a carrier's.
    filtering: behaviors[0]!.filtering,
    provisional: false,
    strays: behaviors.some(({ strays }) => strays === 'rst') ? 'reset' : 'drop',
    allocation: allocation.kind === 'sequential' ? { kind: 'sequential', step: allocation.step } : allocation,
    hairpin: outermost.behavior.hairpin !== 'none',
    publicAddresses: outermost.addresses,
  };
}
