import type { Transport } from '../src/core/punch/candidate.ts';
import type { Technique } from '../src/core/punch/stage.ts';

/** One line of a session's trace: what was found, what was tried, what came of it (docs/operations.md, "Reading --explain"). */
export interface TraceLine {
  readonly transport?: Transport | 'relay' | undefined;
  /**
   * A technique, or `nat` what stands at each end, `plan` what will be tried, `round` when punching begins again,
   * `keepalive` how a path is held, `rotation` why
   * one is replaced, `relay` a circuit's failure, `keys` a new handshake.
   */
  readonly stage: Technique | 'nat' | 'plan' | 'round' | 'keepalive' | 'rotation' | 'relay' | 'keys';
  readonly text: string;
  /** Sent by this end in this stage so far. */
  readonly packets?: number | undefined;
  /** Since the round's T0, milliseconds. */
  readonly elapsedMs?: number | undefined;
}
