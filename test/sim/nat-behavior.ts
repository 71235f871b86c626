import type { MappingBehavior } from '../../src/core/nat/behavior.ts';

/** RFC 4787 §4.1 and §5; the same three words describe mapping and filtering. */
export type Behavior = Exclude<MappingBehavior, 'none' | 'unknown'>;

/** How a NAT picks the external port of a new mapping (RFC 4787 §4.2). */
export type Allocation =
  /** The internal port where it is free, else a random one. */
  | { readonly kind: 'preserving' }
  /** The last port plus `step`; other hosts behind the NAT take `foreignPerSecond` ports meanwhile. */
  | { readonly kind: 'sequential'; readonly step: number; readonly foreignPerSecond: number }
  | { readonly kind: 'random' };

/**
 * What happens to a packet from outside that no mapping and filter lets in. `accept` is a Linux router with an open
 * INPUT chain: it answers like `rst` and `icmp-reject`, and its connection tracking remembers the stray, so that an
 * outbound flow which would collide with it is given another port.
 */
export type UdpStrays = 'drop' | 'icmp-reject' | 'accept';
export type TcpStrays = 'drop' | 'rst' | 'accept';

interface TransportBehavior {
  readonly blocked: boolean;
  readonly mapping: Behavior;
  readonly filtering: Behavior;
  readonly allocation: Allocation;
}

interface UdpBehavior extends TransportBehavior {
  readonly strays: UdpStrays;
  /** How long a mapping and its filter live after the last outbound packet. */
  readonly lifetimeMs: number;
}

interface TcpBehavior extends TransportBehavior {
  readonly strays: TcpStrays;
  /** Whether a SYN from outside may answer an own SYN (RFC 5382 REQ-2); refused ones are treated as strays. */
  readonly crossingSyns: boolean;
  /** Destination ports that may be dialled; `undefined` for all. */
  readonly onlyPorts: readonly number[] | undefined;
}

export interface NatBehavior {
  readonly udp: UdpBehavior;
  readonly tcp: TcpBehavior;
  /** RFC 4787 §4.1: which of several public addresses a mapping gets: always the host's own one, or any. */
  readonly pooling: 'paired' | 'arbitrary';
  /** RFC 4787 §6: packets from inside to a mapping's external endpoint, and the source that they arrive with. */
  readonly hairpin: 'none' | 'external-source' | 'internal-source';
}

/** A NAT's deviation from the defaults of `defineNat`. */
export interface NatOverrides {
  readonly udp?: Partial<UdpBehavior>;
  readonly tcp?: Partial<TcpBehavior>;
  readonly pooling?: NatBehavior['pooling'];
  readonly hairpin?: NatBehavior['hairpin'];
}

/** The same mapping, filtering and allocation for UDP and TCP, strays dropped, and what `overrides` changes. */
export function defineNat(
  mapping: Behavior,
  filtering: Behavior,
  allocation: Allocation,
  overrides: NatOverrides = {},
): NatBehavior {
  const both = { blocked: false, mapping, filtering, allocation };
  const plain: NatBehavior = {
    udp: { ...both, strays: 'drop', lifetimeMs: 120_000 },
    tcp: { ...both, strays: 'drop', crossingSyns: true, onlyPorts: undefined },
    pooling: 'paired',
    hairpin: 'none',
  };
  return overrideNat(plain, overrides);
}

export function overrideNat(behavior: NatBehavior, overrides: NatOverrides): NatBehavior {
  return {
    ...behavior,
    ...overrides,
    udp: { ...behavior.udp, ...overrides.udp },
    tcp: { ...behavior.tcp, ...overrides.tcp },
  };
}

export const PRESERVING: Allocation = { kind: 'preserving' };
export const RANDOM: Allocation = { kind: 'random' };

export function sequential(step = 1, foreignPerSecond = 0): Allocation {
  return { kind: 'sequential', step, foreignPerSecond };
}
