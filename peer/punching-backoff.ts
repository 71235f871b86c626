import type { SessionRole } from '../src/core/session/role.ts';
import type { Clock } from '../src/net/clock.ts';

/** After the first round that failed, the second, and so on; the last one again and again. */
const PAUSES_MS = [2_000, 8_000, 60_000, 300_000, 900_000];

/** The end that didn't initiate the session leaves the proposal of a round to the other for this much longer. */
const RESPONDER_PATIENCE_MS = 700;

/**
 * When a session without a direct path tries for one again: after pauses that grow while nothing changes at either
 * end, since two NATs that didn't let it through rarely do so a moment later.
 */
export class PunchingBackoff {
  readonly #clock: Clock;
  readonly #retry: () => void;
  readonly #patienceMs: number;
  #failures = 0;
  #cancel: (() => void) | undefined;

  constructor(role: SessionRole, clock: Clock, retry: () => void) {
    this.#clock = clock;
    this.#retry = retry;
    this.#patienceMs = role === 'initiator' ? 0 : RESPONDER_PATIENCE_MS;
  }

  /** Tries again after a pause; tells how long that is at the initiator, in milliseconds. */
  failed(): number {
    const pauseMs = PAUSES_MS[Math.min(this.#failures++, PAUSES_MS.length - 1)]!;
    this.retryIn(pauseMs + this.#patienceMs);
    return pauseMs;
  }

  /** Things have changed: the next failure counts as the first. */
  reset(): void {
    this.#failures = 0;
  }

  /** Tries again as soon as it is this end's turn. */
  retrySoon(): void {
    this.retryIn(this.#patienceMs);
  }

  /** In place of any other time that was set. */
  retryIn(ms: number): void {
    this.#cancel?.();
    this.#cancel = this.#clock.setTimer(this.#retry, ms);
  }

  cancel(): void {
    this.#cancel?.();
  }
}
