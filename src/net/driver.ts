import type { Instant, Machine } from '../core/machine.ts';
import type { Clock } from './clock.ts';

/**
 * Runs a machine: one mutation, drain, arm one timer. What the machine hands out goes to `perform`, which may feed new
 * inputs back; those are handled at once and drained by the loop that is already running.
 */
export class Driver<Input, Output> {
  readonly #machine: Machine<Input, Output>;
  readonly #clock: Clock;
  readonly #perform: (output: Output) => void;
  #draining = false;
  #drainScheduled = false;
  #stopped = false;
  #cancelTimer: (() => void) | undefined;
  /** A timer that fires too early costs less than setting a new one for every input. */
  #timerAt: Instant = Infinity;

  constructor(machine: Machine<Input, Output>, clock: Clock, perform: (output: Output) => void) {
    this.#machine = machine;
    this.#clock = clock;
    this.#perform = perform;
  }

  handle(input: Input): void {
    if (this.#stopped) return;
    this.#machine.handle(input, this.#clock.now());
    this.drain();
  }

  /** Like `handle`, but drains only when the current turn is over, so that inputs of one turn share a batch. */
  handleSoon(input: Input): void {
    if (this.#stopped) return;
    this.#machine.handle(input, this.#clock.now());
    this.#drainSoon();
  }

  #drainSoon(): void {
    if (this.#draining || this.#drainScheduled) return;
    this.#drainScheduled = true;
    queueMicrotask(() => {
      this.#drainScheduled = false;
      this.drain();
    });
  }

  drain(): void {
    if (this.#draining || this.#stopped) return;
    this.#draining = true;
    try {
      for (let output = this.#machine.poll(); output !== undefined; output = this.#machine.poll()) {
        this.#perform(output);
      }
    } finally {
      this.#draining = false;
    }
    this.#arm();
  }

  /** No more inputs, no more timer. */
  stop(): void {
    this.#stopped = true;
    this.#disarm();
  }

  #arm(): void {
    const deadline = this.#machine.deadline;
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
