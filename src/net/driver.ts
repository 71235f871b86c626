import type { Instant, Machine } from '../core/machine.ts';
import type { Clock } from './clock.ts';
import { microtask } from './microtask.ts';
import { uncaught } from './uncaught.ts';

/**
 * Runs a machine: one mutation, drain, arm one timer. What the machine hands out goes to `perform`, which may feed new
 * inputs back; those are handled at once and drained by the loop that is already running.
 */
export class Driver<Input, Output> {
  readonly #machine: Machine<Input, Output>;
  readonly #clock: Clock;
  readonly #perform: (output: Output) => void;
  #draining = false;
  /** When the drain that is running began: asking the clock for each of its inputs would cost more than it tells. */
  #drainedAt: Instant = 0;
  #drainScheduled = false;
  #turnEndScheduled = false;
  #stopped = false;
  #cancelTimer: (() => void) | undefined;
  /** A timer that fires too early costs less than setting a new one for every input. */
  #timerAt: Instant = Infinity;
  readonly #drainNow = (): void => {
    this.#drainScheduled = false;
    this.drain();
  };

  constructor(machine: Machine<Input, Output>, clock: Clock, perform: (output: Output) => void) {
    this.#machine = machine;
    this.#clock = clock;
    this.#perform = perform;
  }

  handle(input: Input): void {
    if (this.#stopped) return;
    this.#machine.handle(input, this.#now());
    this.drain();
  }

  /** Like `handle`, but drains only when the running callback is over, so that inputs of one callback share a batch. */
  handleSoon(input: Input): void {
    if (this.#stopped) return;
    this.#machine.handle(input, this.#now());
    this.#drainLater(microtask);
  }

  /**
   * Like `handleSoon`, but drains only when all promises have told those who await them, so that what these hand in at
   * once shares a batch.
   */
  handleAfterwards(input: Input): void {
    if (this.#stopped) return;
    this.#machine.handle(input, this.#now());
    this.#drainLater(afterMicrotasks);
  }

  /** Like `handle`, but drains only when the turn of the event loop is over, so that inputs of many callbacks share a batch. */
  handleThisTurn(input: Input): void {
    if (this.#stopped) return;
    this.#machine.handle(input, this.#now());
    if (this.#draining || this.#turnEndScheduled) return;
    this.#turnEndScheduled = true;
    setImmediate(() => {
      this.#turnEndScheduled = false;
      this.drain();
    });
  }

  #drainLater(schedule: (drain: () => void) => void): void {
    if (this.#draining || this.#drainScheduled) return;
    this.#drainScheduled = true;
    schedule(this.#drainNow);
  }

  drain(): void {
    if (this.#draining || this.#stopped) return;
    this.#draining = true;
    this.#drainedAt = this.#clock.now();
    let deadline: Instant | undefined;
    try {
      deadline = this.#performAll();
      if (this.#isDueAtOnce(deadline)) {
        this.#machine.handleTimeout(this.#drainedAt);
        deadline = this.#performAll();
      }
    } finally {
      this.#draining = false;
    }
    this.#arm(deadline);
  }

  /** @returns when the machine wants to be called after that */
  #performAll(): Instant | undefined {
    for (let output = this.#machine.poll(); output !== undefined; output = this.#machine.poll()) {
      try {
        this.#perform(output);
      } catch (thrown) {
        uncaught(thrown); // by a callback of the program's: the other outputs and the next deadline wait for nobody
      }
    }
    return this.#machine.deadline;
  }

  /**
   * The machine has just come to want something that is due already: a timer would take a millisecond or more for it. What a timer is
   * set for is left to that, even if it is late: what has come in meanwhile is read before.
   */
  #isDueAtOnce(deadline: Instant | undefined): boolean {
    if (this.#stopped || deadline === undefined) return false;
    return deadline <= this.#drainedAt && deadline < this.#timerAt;
  }

  /** No more inputs, no more timer. */
  stop(): void {
    this.#stopped = true;
    this.#disarm();
  }

  #now(): Instant {
    return this.#draining ? this.#drainedAt : this.#clock.now();
  }

  #arm(deadline: Instant | undefined): void {
    if (this.#stopped || deadline === undefined || deadline >= this.#timerAt) return;
    this.#disarm();
    this.#timerAt = deadline;
    this.#cancelTimer = this.#clock.setTimer(() => this.#wake(), deadline - this.#clock.now());
  }

  #disarm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#timerAt = Infinity;
  }

  #wake(): void {
    this.#cancelTimer = undefined;
    this.#timerAt = Infinity;
    const now = this.#clock.now();
    const deadline = this.#machine.deadline;
    if (deadline !== undefined && deadline <= now) this.#machine.handleTimeout(now);
    this.drain();
  }
}

/** Node runs ticks that a microtask asks for once there are no microtasks left. */
function afterMicrotasks(run: () => void): void {
  microtask(() => process.nextTick(run));
}
