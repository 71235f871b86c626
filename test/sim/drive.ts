import assert from 'node:assert';
import type { Instant, Machine } from '../../src/core/machine.ts';
import type { Timeline, Timer } from './clock.ts';

/** A machine that runs in the simulated internet. */
export interface Driven<Input> {
  handle(input: Input): void;
  /** Ends the driving: nothing is handed in or out any more. */
  stop(): void;
}

/** How often a deadline may come due without time passing before the machine counts as stuck. */
const STUCK = 1_000;

/**
 * Runs a machine by the rule of `Machine`: one mutation, drain to empty, arm one timer. Input that `onOutput` causes
 * waits until the drain is done.
 *
 * @param timeline the host whose clock the machine is told, or the world's clock
 */
export function drive<Input, Output>(
  timeline: Timeline,
  machine: Machine<Input, Output>,
  onOutput: (output: Output) => void,
): Driven<Input> {
  const driver = new Driver(timeline, machine, onOutput);
  driver.settle();
  return driver;
}

class Driver<Input, Output> implements Driven<Input> {
  readonly #timeline: Timeline;
  readonly #machine: Machine<Input, Output>;
  readonly #onOutput: (output: Output) => void;
  readonly #waiting: Input[] = [];
  #settling = false;
  #stopped = false;
  #timer: Timer | undefined;
  #armedFor: Instant | undefined;
  #lastTimeout: Instant | undefined;
  #repeats = 0;

  constructor(timeline: Timeline, machine: Machine<Input, Output>, onOutput: (output: Output) => void) {
    this.#timeline = timeline;
    this.#machine = machine;
    this.#onOutput = onOutput;
  }

  handle(input: Input): void {
    if (this.#stopped) return;
    this.#waiting.push(input);
    this.settle();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  settle(): void {
    if (this.#settling) return;
    this.#settling = true;
    this.#drain();
    for (let input = this.#waiting.shift(); input !== undefined; input = this.#waiting.shift()) {
      this.#machine.handle(input, this.#timeline.now);
      this.#drain();
    }
    this.#settling = false;
    this.#arm();
  }

  #drain(): void {
    for (let output = this.#machine.poll(); output !== undefined; output = this.#machine.poll()) {
      if (this.#stopped) return;
      this.#onOutput(output);
    }
  }

  #arm(): void {
    const { deadline } = this.#machine;
    if (this.#stopped || deadline === this.#armedFor) return;
    this.#timer?.cancel();
    this.#armedFor = deadline;
    this.#timer = deadline === undefined ? undefined : this.#timeline.at(deadline, () => this.#timeout());
  }

  #timeout(): void {
    const { now } = this.#timeline;
    this.#repeats = now === this.#lastTimeout ? this.#repeats + 1 : 0;
    this.#lastTimeout = now;
    assert(this.#repeats < STUCK, 'the deadline of this machine does not advance');
    this.#armedFor = undefined;
    this.#machine.handleTimeout(now);
    this.settle();
  }
}
