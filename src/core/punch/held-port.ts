import type { Family } from '../address.ts';
import type { Instant } from '../machine.ts';
import type { SessionRole } from '../session/role.ts';
import type { PunchOutput } from './events.ts';
import type { TcpTarget } from './tcp-targets.ts';
import { Turns } from './turns.ts';

/** What the held port does towards the peer's mapping. */
export type HeldPortUse =
  /** The peer's TCP is out of reach by its mapping: only its listeners' addresses are dialled. */
  | 'nothing'
  /** Both ends dial at once (RFC 9293 §3.5). */
  | 'simultaneous open'
  /** The other end's NAT lets anybody in. */
  | 'dial'
  /** Our own NAT lets anybody in. */
  | 'listen'
  /** The other end's NAT lets in whom it has dialled, from any port: it listens as soon as it has. */
  | 'dial the listener'
  /** It is our own NAT that does. */
  | 'connect then listen';

/**
 * When the first SYN leaves the held port. Where two cross, either kernel takes the time from its own SYN-ACK to the
 * other's for a round trip; the two times are one round trip together, so that one or both are far too short. BBR reckons with the
 * least round trip of the last ten seconds, and sends but a few packets in each for so long.
 */
export type FirstSyn =
  /** At T0. */
  | 'at once'
  /**
   * The responder's is dropped by the initiator's NAT first, and has opened its own: then the initiator's comes in alone. Where the
   * responder's was refused by RST instead, its next one does.
   */
  | 'after the other'
  /**
   * In the second slot, the initiator's after the responder's: no NAT is known to be between the two, so that mostly a plain dial does
   * it. Where one is measured meanwhile, it is no longer so.
   */
  | 'after the listeners';

export interface HeldPortOptions {
  readonly role: SessionRole;
  /** @default 4 */
  readonly family?: Family | undefined;
  readonly emit: (output: PunchOutput) => void;
  readonly firstSyn: () => FirstSyn;
}

/**
 * The port that this end's own TCP STUN connection keeps mapped, in one round of punching. An end can't dial from a port that it
 * listens on (Node: EADDRINUSE), so it does one or the other: by its use, and where both ends dial, by turns.
 */
export class HeldPort {
  readonly #options: HeldPortOptions;
  /** What it is used for; this may change as the NATs are measured. */
  use: HeldPortUse = 'nothing';
  #startAt: Instant = Infinity;
  #turns: Turns | undefined;
  /** What a SYN of the other end's takes to get as far as this end's NAT. */
  #crossingMs = 0;
  /** When the responder's first SYN has done so, where that left at once. */
  #otherDroppedAt: Instant = Infinity;
  #nextTurnAt: Instant | undefined;
  #listening = false;

  constructor(options: HeldPortOptions) {
    this.#options = options;
  }

  /** When to call `takeTurn` again. */
  get deadline(): Instant | undefined {
    return this.#nextTurnAt;
  }

  /** @param confirmMs the responder begins so much later than T0, or than now if that is over */
  start(at: Instant, roundTripMs: number, now: Instant, confirmMs: number): void {
    this.#startAt = at;
    this.#turns = new Turns(at, roundTripMs);
    this.#crossingMs = roundTripMs / 2 + DROPPED_MARGIN_MS;
    this.#otherDroppedAt = Math.max(at, now) + confirmMs + this.#crossingMs;
  }

  /** Whether dials to this target leave from it. */
  isFor({ mapping }: TcpTarget): boolean {
    return mapping && this.use === 'simultaneous open';
  }

  /** The peer's mapping is dialled from any port. */
  get leavesMappingToOthers(): boolean {
    return this.use === 'dial' || this.use === 'dial the listener';
  }

  get firstSynAt(): Instant {
    switch (this.#options.firstSyn()) {
      case 'at once':
        return this.#startAt;
      case 'after the other':
        return this.#otherDroppedAt;
      case 'after the listeners':
        return this.nextDialAt(this.#startAt) + (this.#options.role === 'initiator' ? this.#crossingMs : 0);
    }
  }

  /** Held ports dial in slots that both ends count alike. */
  nextDialAt(now: Instant): Instant {
    return this.#turns!.nextSlotAt(now);
  }

  isOurTurnToListen(now: Instant): boolean {
    return this.#turns!.listener(now) === this.#options.role;
  }

  areBothDialling(now: Instant): boolean {
    return this.#turns!.listener(now) === undefined;
  }

  /** Whether it is to listen from now until `deadline`. */
  takeTurn(now: Instant): boolean {
    this.#nextTurnAt = undefined;
    if (this.use !== 'simultaneous open') return this.use === 'listen';
    this.#nextTurnAt = this.#turns!.nextTurnAt(now);
    return now >= this.#startAt && this.isOurTurnToListen(now);
  }

  listen(listening: boolean): void {
    if (listening === this.#listening) return;
    this.#listening = listening;
    const { emit, family = 4 } = this.#options;
    emit({ type: listening ? 'listen-held' : 'stop-listening', family });
  }
}

/** For a responder that is slow to begin. */
const DROPPED_MARGIN_MS = 20;
