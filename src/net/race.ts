import { SallyportError, asSallyportError, type ErrorCode } from '../core/errors.ts';
import type { Clock } from './clock.ts';

/** What one attempt is told, and has to tell. */
export interface Attempting {
  /** It is no longer wanted. */
  readonly signal: AbortSignal;
  /** From here on the other end may act on it, whatever becomes of it here: it is not abandoned any more. */
  readonly onCommit: () => void;
}

export interface RaceOptions<Result> {
  readonly attempt: (attempting: Attempting) => Promise<Result>;
  readonly clock: Clock;
  /** The code of what fails without one. */
  readonly failure: ErrorCode;
  /** Of the first that comes through, and of committed ones that come through after it. */
  readonly onResult: (result: Result) => void;
  /** Of one that came through just as it was abandoned. */
  readonly discard: (result: Result) => void;
  /** Of each that fails; `left` are still under way. */
  readonly onFailure: (why: SallyportError, left: number) => void;
}

interface Runner {
  readonly controller: AbortController;
  committed: boolean;
}

/** From one start to the next. With the first attempt there are three at most. */
const STAGGER_MS = [1_000, 2_000];

/**
 * The same thing attempted by several connections, one begun beside those that take long (after RFC 8305 §5, where the
 * addresses differ). What TCP has lost it repeats after one second, then two, then four; a connection of its own has as
 * good a chance as the first had. The first that comes through is taken, and those that have not committed are abandoned.
 */
export class Race<Result> {
  readonly #options: RaceOptions<Result>;
  readonly #runners = new Set<Runner>();
  #cancelNext: (() => void) | undefined;
  /** Begun, and neither won, lost nor called off. */
  #open = false;

  constructor(options: RaceOptions<Result>) {
    this.#options = options;
  }

  /** Some may still come through. */
  get running(): boolean {
    return this.#runners.size > 0;
  }

  /** Unless it has begun already. */
  begin(): void {
    if (this.#open) return;
    this.#open = true;
    this.#start(0);
  }

  /** It is not needed any more: only committed ones go on. */
  relent(): void {
    this.#close();
    for (const runner of this.#runners) {
      if (!runner.committed) this.#abandon(runner);
    }
  }

  /** Nothing is told of it any more. */
  stop(): void {
    this.#close();
    for (const runner of this.#runners) this.#abandon(runner);
  }

  #close(): void {
    this.#open = false;
    this.#cancelNext?.();
  }

  #start(nth: number): void {
    void this.#run();
    const pause = STAGGER_MS[nth];
    if (pause !== undefined)
      this.#cancelNext = this.#options.clock.setTimer(() => this.#start(nth + 1), pause);
  }

  async #run(): Promise<void> {
    const { attempt, failure, onResult, discard, onFailure } = this.#options;
    const controller = new AbortController();
    const runner: Runner = { controller, committed: false };
    this.#runners.add(runner);
    try {
      const result = await attempt({ signal: controller.signal, onCommit: () => (runner.committed = true) });
      if (!this.#runners.delete(runner)) return discard(result);
      this.relent();
      onResult(result);
    } catch (thrown) {
      if (!this.#runners.delete(runner)) return;
      if (!this.running) this.#close();
      onFailure(asSallyportError(thrown, failure), this.#runners.size);
    }
  }

  #abandon(runner: Runner): void {
    this.#runners.delete(runner);
    runner.controller.abort(new SallyportError('ABORTED', 'another attempt came through'));
  }
}
