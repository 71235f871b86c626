import type { Candidate } from '../src/core/punch/candidate.ts';
import type { PunchInput } from '../src/core/punch/events.ts';
import type { TransportObstacle } from '../src/core/punch/obstacle.ts';
import type { Instant } from '../src/core/machine.ts';
import { confirmationMs, MAX_START_LEAD_MS, type RoundStart } from '../src/core/session/introduction.ts';
import { Traversal, type TraversalOptions } from './traversal.ts';
import { Whereabouts } from './whereabouts.ts';

export interface PunchingRoundOptions extends Omit<TraversalOptions, 'onObstacle' | 'onDone'> {
  readonly start: RoundStart;
  /** An instant by the rendezvous's clock, as one by ours. */
  readonly toLocal: (serverTime: number) => Instant;
  /** Everything was tried, and met these obstacles. Not called once a path was found, nor for a fresh round. */
  readonly onFailed: (obstacles: readonly TransportObstacle[]) => void;
}

/** Probes of a peer whose round has not ended yet are answered for so long: it repeats the last of them for 5 s. */
const ANSWERED_MS = 6_000;

/**
 * One round of hole punching: both ends know its number and T0, the `Traversal` does what is done, and this tells what
 * has come of it. A *fresh* round is to replace a path that is up.
 */
export class PunchingRound {
  readonly number: number;
  readonly roundTripMs: number;
  readonly isFresh: boolean;
  readonly #options: PunchingRoundOptions;
  #traversal: Traversal | undefined;
  /** Ours, as it began: the peer aims there. */
  #whereabouts: Whereabouts;
  #obstacles: TransportObstacle[] = [];
  #hasFound = false;
  #hasEnded = false;
  #cancelStop: (() => void) | undefined;

  constructor(options: PunchingRoundOptions) {
    this.number = options.round;
    this.roundTripMs = options.start.roundTripMs;
    this.isFresh = options.freshUdp !== undefined;
    this.#options = options;
    this.#whereabouts = new Whereabouts(options.network.publicCandidates);
    this.#traversal = new Traversal({
      ...options,
      onObstacle: (obstacle) => this.#obstacles.push(obstacle),
      onDone: () => this.#end(),
    });
  }

  /** It has neither found a path nor tried everything. */
  get isUnderWay(): boolean {
    return !this.#hasFound && !this.#hasEnded;
  }

  /** Under way, and a path is missing. */
  get isNeeded(): boolean {
    return this.isUnderWay && !this.isFresh;
  }

  handle(input: PunchInput): void {
    this.#traversal?.handle(input);
  }

  /** One packet that opens our filter: all that is sent until the peer has proven the session's keys. */
  prime(): void {
    this.handle({ type: 'prime' });
  }

  /** Punching begins at T0, which is not far ahead whatever the peer says. */
  start(): void {
    const { start, toLocal, clock } = this.#options;
    const at = Math.min(toLocal(start.at), clock.now() + MAX_START_LEAD_MS);
    const confirmMs = this.number === 0 ? confirmationMs(this.roundTripMs) : 0;
    this.#traversal?.start(at, this.roundTripMs, confirmMs);
  }

  /** The session was handed a path; whether it lasts is the session's to tell. */
  found(): void {
    this.#hasFound = true;
  }

  /** True, once, when this end has other public addresses than those that the peer aims at. */
  hasMoved(candidates: readonly Candidate[]): boolean {
    const hasMoved = this.#whereabouts.hasMoved(candidates);
    if (hasMoved) this.#whereabouts = new Whereabouts([]);
    return hasMoved;
  }

  /** Gives it up; paths that were handed over stay. */
  stop(): void {
    this.#cancelStop?.();
    this.#traversal?.stop();
    this.#traversal = undefined;
  }

  #end(): void {
    this.#hasEnded = true;
    this.#cancelStop = this.#options.clock.setTimer(() => this.stop(), ANSWERED_MS);
    if (!this.#hasFound && !this.isFresh) this.#options.onFailed(this.#obstacles);
  }
}
