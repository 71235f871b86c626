import type { FilteringBehavior, MappingBehavior, TransportProfile } from '../../../src/core/nat/behavior.ts';
import type { Transport } from '../../../src/core/punch/candidate.ts';
import { dependsOnDestination, natOf, type Nat, type NatName } from '../nats.ts';

/** What a diagnosis of one transport is to find; `undefined` where nothing can be found out from inside. */
export interface TransportTruth {
  readonly reachable: boolean;
  readonly mapping: MappingBehavior;
  readonly filtering: FilteringBehavior;
  readonly allocation: TransportProfile['allocation']['kind'];
  readonly strays: TransportProfile['strays'];
  readonly hairpin: boolean | undefined;
}

/** What stands in front of a host behind that NAT, as a host can see it. */
export function truthOf(name: NatName, transport: Transport): TransportTruth {
  const nat = natOf(name);
  if (!passes(nat, transport)) return NOTHING;
  return {
    reachable: true,
    mapping: nat.mapping,
    filtering: nat.filtering,
    allocation: allocationOf(nat),
    strays: transport === 'tcp' ? straysOf(nat) : 'unknown',
    hairpin: transport === 'udp' ? hairpinOf(nat) : undefined,
  };
}

const NOTHING: TransportTruth = {
  reachable: false,
  mapping: 'unknown',
  filtering: 'unknown',
  allocation: 'unknown',
  strays: 'unknown',
  hairpin: undefined,
};

/** STUN's ports are neither 443 nor the proxy's. */
function passes({ passage }: Nat, transport: Transport): boolean {
  return passage === 'everything' || (passage === 'tcp' && transport === 'tcp');
}

/** Hashes of the endpoints look like random ports. */
function allocationOf({ allocation }: Nat): TransportTruth['allocation'] {
  return allocation === 'by-source' || allocation === 'by-destination' ? 'random' : allocation;
}

/** A filter that lets everybody in meets no strays; a router's own stack refuses what nobody listens for. */
function straysOf({ filtering, strays, crossingSyns }: Nat): TransportTruth['strays'] {
  if (filtering === 'none' || filtering === 'endpoint-independent') return 'unknown';
  const refuses = strays !== 'drop' || crossingSyns === 'rst';
  return refuses ? 'reset' : 'drop';
}

/** A host takes no packet that bears its own address, so the internal source looks like no hairpin. */
function hairpinOf(nat: Nat): boolean | undefined {
  if (nat.mapping === 'none' || dependsOnDestination(nat)) return undefined;
  return nat.hairpin === 'external-source';
}
