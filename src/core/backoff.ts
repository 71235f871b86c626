/** Waiting times between attempts: full jitter under a limit that doubles, so that many who fail together spread out. */
export class Backoff {
  readonly #minMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #limitMs: number;

  /** @param random uniform in [0, 1) */
  constructor(minMs: number, maxMs: number, random: () => number) {
    this.#minMs = minMs;
    this.#maxMs = maxMs;
    this.#random = random;
    this.#limitMs = minMs;
  }

  /** Milliseconds to wait before the next attempt. */
  next(): number {
    const wait = this.#minMs / 2 + this.#random() * (this.#limitMs - this.#minMs / 2);
    this.#limitMs = Math.min(this.#maxMs, this.#limitMs * 2);
    return wait;
  }

  /** The last attempt worked. */
  reset(): void {
    this.#limitMs = this.#minMs;
  }
}
