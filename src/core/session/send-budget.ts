import assert from 'node:assert';

/**
 * What all sessions of a process hold of what they are to send: what waits, and what isn't acknowledged. None has more of either
 * than is left for all others (dynamic thresholds; Choudhury and Hahne, 1998): peers that don't read can't fill the memory, nor
 * keep those that do from going on.
 */
export class SendBudget {
  readonly #limit: number;
  #held = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Less than nothing where every session has the little that it needs, and they are many. */
  get left(): number {
    return this.#limit - this.#held;
  }

  hold(bytes: number): void {
    this.#held += bytes;
  }

  release(bytes: number): void {
    this.#held -= bytes;
    assert(this.#held >= 0, 'more was released than held');
  }
}
