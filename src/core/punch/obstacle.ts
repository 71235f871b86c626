import type { Transport } from './candidate.ts';

/** Why a transport, or a session, isn't direct. `docs/operations.md`, "Why a session is relayed", says what to do about each. */
export type ReasonCode =
  /** One of the two ends doesn't allow this kind of path (`--paths`). */
  | 'NOT_ALLOWED'
  | 'UDP_BLOCKED'
  | 'TCP_BLOCKED'
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

export const NO_HAIRPIN: Obstacle = {
  code: 'NO_HAIRPIN',
  reason: 'both peers are behind the same NAT, and it does not carry traffic from one inner host to another',
  remedy:
    'a network in which the two hosts reach each other, or a NAT with hairpinning, would make it direct',
};
