import { concat } from '../src/core/bytes.ts';
import { SallyportError } from '../src/core/errors.ts';

/** `length 2 | message`: how small messages follow one another on a stream. */
export function withLength(message: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(message.length >> 8, message.length & 0xff), message);
}

/** Cuts a stream back into its messages. */
export class LengthPrefixed {
  readonly #onMessage: (message: Uint8Array) => void;
  readonly #most: number;
  /** The beginning of a message, and room behind it: who sends it byte by byte has nothing copied for each. */
  #held: Uint8Array = new Uint8Array();
  #bytes = 0;

  /** @param most bytes of one message */
  constructor(onMessage: (message: Uint8Array) => void, most = 0xffff) {
    this.#onMessage = onMessage;
    this.#most = most;
  }

  /** @throws SallyportError `LIMIT` for a message that is too long, as soon as it says so */
  push(chunk: Uint8Array): void {
    const bytes = this.#bytes === 0 ? chunk : this.#append(chunk);
    let at = 0;
    while (bytes.length - at >= 2) {
      const length = (bytes[at]! << 8) | bytes[at + 1]!;
      if (length > this.#most) throw new SallyportError('LIMIT', 'a message is too long');
      const end = at + 2 + length;
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
