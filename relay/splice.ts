import type { Duplex } from 'node:stream';
import { LIMITS } from '../src/core/limits.ts';

/**
 * One direction of a circuit: what `from` sends goes to `to`, held back when `to` is slow and while `hold` is on.
 * Ends `to` when `from` has ended.
 */
export class Flow {
  readonly #from: Duplex;
  readonly #to: Duplex;
  readonly #onBytes: (count: number) => void;
  #held = false;
  #full = false;

  constructor(from: Duplex, to: Duplex, onBytes: (count: number) => void) {
    this.#from = from;
    this.#to = to;
    this.#onBytes = onBytes;
    to.on('drain', () => {
      this.#full = false;
      this.#flow();
    });
    from.on('data', (chunk: Buffer) => this.#pass(chunk));
    from.on('end', () => to.end());
  }

  /** The rate is used up, or is there again. */
  hold(on: boolean): void {
    this.#held = on;
    this.#flow();
  }

  #pass(chunk: Buffer): void {
    if (!this.#to.writable) return;
    this.#to.write(chunk);
    // Not the stream's own mark: an HTTP/2 stream's is 16 KiB, and each halt would cost a round through the loop.
    this.#full = this.#to.writableLength >= LIMITS.spliceBytes;
    this.#onBytes(chunk.length);
    this.#flow();
  }

  #flow(): void {
    const wait = this.#held || this.#full;
    if (wait === this.#from.isPaused()) return;
    if (wait) this.#from.pause();
    else this.#from.resume();
  }
}
