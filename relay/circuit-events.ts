import type { SallyportError } from '../src/core/errors.ts';
import type { TicketOpening } from '../src/core/protocol/ticket.ts';

/** One opened leg, numbered by whoever accepted it. */
export type LegId = number;

export type CircuitsInput =
  /** A leg whose ticket and signature have been checked; the ticket's time is by the clock that this is driven by. */
  | { readonly type: 'open'; readonly leg: LegId; readonly opening: TicketOpening }
  /** Bytes that came from the leg. */
  | { readonly type: 'bytes'; readonly leg: LegId; readonly count: number }
  /** Its carrier is gone, or both directions have ended. */
  | { readonly type: 'closed'; readonly leg: LegId };

/** Why a circuit's leg is ended by the relay. */
export type DropReason = 'replaced' | 'partner gone' | 'partner never came' | 'idle';

export type CircuitsOutput =
  | { readonly type: 'accept'; readonly leg: LegId }
  | { readonly type: 'refuse'; readonly leg: LegId; readonly error: SallyportError }
  | { readonly type: 'splice'; readonly legs: readonly [LegId, LegId] }
  | { readonly type: 'drop'; readonly leg: LegId; readonly reason: DropReason }
  /** The leg has used up its rate: don't read from it until `resume`. */
  | { readonly type: 'pause' | 'resume'; readonly leg: LegId };

export interface CircuitsLimits {
  readonly circuits: number;
  readonly legsPerPeer: number;
  readonly waitingLegsPerPeer: number;
  readonly waitingLegMs: number;
  readonly idleMs: number;
  /** Openings of one peer. */
  readonly openingsPerSecond: number;
  readonly openingsBurst: number;
  /** Bytes per second of one circuit and of all circuits of one peer, both directions together; 0 for no limit. */
  readonly circuitBytesPerSecond: number;
  readonly peerBytesPerSecond: number;
}
