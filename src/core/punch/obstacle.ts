import type { Transport } from './candidate.ts';

/** Why a transport, or a session, isn't direct. `docs/operations.md`, "Why a session is relayed", says what to do about each. */
export type ReasonCode =
  /** One of the two ends doesn't allow this kind of path (`--paths`). */
  | 'NOT_ALLOWED'
  | 'UDP_BLOCKED'
  | 'TCP_BLOCKED'
  /** One end gets out over IPv6 alone, the other over IPv4 alone. */
  | 'NO_COMMON_FAMILY'
  /** Both are behind one NAT that carries nothing from one inner host to another. */
  | 'NO_HAIRPIN'
  /** Both mappings depend on the destination, and where they go can't be foreseen. */
  | 'BOTH_UNPREDICTABLE'
  /** One mapping depends on the destination, and this transport has no way to find it. */
  | 'ONE_UNPREDICTABLE'
  /** There was a way by these NATs, it was tried, and it did not get through. */
  | 'NOT_THROUGH';

/** Why a transport can't go direct through these NATs, and what would change that. */
export interface Obstacle {
  readonly code: ReasonCode;
  readonly reason: string;
  readonly remedy?: string | undefined;
}

/** What a round of punching met. */
export interface TransportObstacle extends Obstacle {
  readonly transport: Transport;
}

export const NOT_ALLOWED: Obstacle = {
  code: 'NOT_ALLOWED',
  reason: 'one of the two peers does not allow this kind of path',
};

export const BLOCKED: Record<Transport, Obstacle> = {
  udp: {
    code: 'UDP_BLOCKED',
    reason: 'one of the two networks lets no UDP out',
    remedy: 'a network that lets UDP out would allow it',
  },
  tcp: {
    code: 'TCP_BLOCKED',
    reason: 'one of the two networks lets no TCP out but to a few ports',
    remedy: 'a network that lets TCP out to any port would allow it',
  },
};

export const NO_COMMON_FAMILY: Obstacle = {
  code: 'NO_COMMON_FAMILY',
  reason: 'one of the two networks lets it out over IPv6 alone, and the other one over IPv4 alone',
  remedy: 'a network with both, at either end, would make it direct',
};

export const NO_HAIRPIN: Obstacle = {
  code: 'NO_HAIRPIN',
  reason: 'both peers are behind the same NAT, and it does not carry traffic from one inner host to another',
  remedy:
    'a network in which the two hosts reach each other, or a NAT with hairpinning, would make it direct',
};

const KEEP_ONE_PORT =
  'enabling UPnP or NAT-PMP on either router, or a NAT there that keeps one port for all destinations, would make it direct';

/**
 * Two dependent mappings, at least one of them random. A probe passes only where both NATs hold a mapping for exactly
 * the two ports in question; each probe of a dependent end comes from a new port, so that about 65,000 mappings would
 * be needed for one hit: the whole port space of a NAT.
 */
export const UNPREDICTABLE: Obstacle = {
  code: 'BOTH_UNPREDICTABLE',
  reason: 'both NATs use another port for each destination, and at least one picks it unpredictably',
  remedy: KEEP_ONE_PORT,
};

/** Over TCP thousands of attempts look like a port scan, so they are left to pairs that have no UDP. */
export const ONE_UNPREDICTABLE: Obstacle = {
  code: 'ONE_UNPREDICTABLE',
  reason:
    'one NAT uses another unpredictable port for each destination, and the other lets in only answers from ports that it sent to; that many TCP dials are made only where UDP is blocked',
  remedy: KEEP_ONE_PORT,
};

/** What a search came to that had nothing to search at, as where the other end's news did not get here. */
export const NO_ADDRESS = 'no usable address of the other end came';
