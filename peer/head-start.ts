import type { Clock } from '../src/net/clock.ts';

/** A pause before something begins, with what is to be done after that. */
export class HeadStart {
  readonly #cancel: () => void;
  /** `undefined` once it is over. */
  #waiting: (() => void)[] | undefined = [];

  constructor(clock: Clock, ms: number) {
    this.#cancel = clock.setTimer(() => this.end(), ms);
  }

  /** Done at once when it is over, else in the order of the calls. */
  after(act: () => void): void {
    if (this.#waiting) this.#waiting.push(act);
    else act();
  }

  /** There is nothing to wait for any more. */
  end(): void {
    this.#cancel();
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const act of waiting) act();
  }

  /** What waits is not done. */
  stop(): void {
    this.#waiting = undefined;
    this.#cancel();
  }
}
