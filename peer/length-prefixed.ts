import { concat } from '../src/core/bytes.ts';

/** `length 2 | message`: how small messages follow one another on a stream. */
export function withLength(message: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(message.length >> 8, message.length & 0xff), message);
}

/** Cuts a stream back into its messages. */
export class LengthPrefixed {
  readonly #onMessage: (message: Uint8Array) => void;
  /** The beginning of a message, and room behind it: who sends it byte by byte has nothing copied for each. */
  #held: Uint8Array = new Uint8Array();
  #bytes = 0;

  constructor(onMessage: (message: Uint8Array) => void) {
    this.#onMessage = onMessage;
  }

  push(chunk: Uint8Array): void {
    const bytes = this.#bytes === 0 ? chunk : this.#append(chunk);
    let at = 0;
    while (bytes.length - at >= 2) {
      const end = at + 2 + ((bytes[at]! << 8) | bytes[at + 1]!);
      if (end > bytes.length) break;
      this.#onMessage(bytes.subarray(at + 2, end));
      at = end;
    }
    if (at > 0 || this.#bytes === 0) this.#held = bytes.subarray(at);
    this.#bytes = bytes.length - at;
  }

  #append(chunk: Uint8Array): Uint8Array {
    const end = this.#bytes + chunk.length;
    if (end > this.#held.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#bytes));
      larger.set(this.#held);
      this.#held = larger;
    }
    this.#held.set(chunk, this.#bytes);
    return this.#held.subarray(0, end);
  }
}
