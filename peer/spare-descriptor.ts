import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';

/**
 * A file descriptor kept for what must not fail where peers have taken all others. Only for what doesn't wait: nobody else in this
 * thread gets it meanwhile.
 */
export class SpareDescriptor {
  #held: number | undefined;

  constructor() {
    this.#take();
  }

  lend<Result>(act: () => Result): Result {
    this.release();
    try {
      return act();
    } finally {
      this.#take();
    }
  }

  release(): void {
    if (this.#held !== undefined) closeSync(this.#held);
    this.#held = undefined;
  }

  #take(): void {
    try {
      this.#held = openSync(devNull, 'r');
    } catch {
      // the next time, perhaps
    }
  }
}
