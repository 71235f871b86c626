import { concat } from '../src/core/bytes.ts';
import { SallyportError } from '../src/core/errors.ts';
import { LIMITS } from '../src/core/limits.ts';

/** `length 2 | message`: how small messages follow one another on a stream. */
export function withLength(message: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(message.length >> 8, message.length & 0xff), message);
}

/** Cuts a stream back into its messages. */
export class LengthPrefixed {
  #rest: Uint8Array = new Uint8Array();
  #onMessage: (message: Uint8Array) => void;

  constructor(onMessage: (message: Uint8Array) => void) {
    this.#onMessage = onMessage;
  }

  /** @throws SallyportError `LIMIT` for a message longer than a control message may be */
  push(chunk: Uint8Array): void {
    this.#rest = concat(this.#rest, chunk);
    while (this.#rest.length >= 2) {
      const length = (this.#rest[0]! << 8) | this.#rest[1]!;
      if (length > LIMITS.controlMessageBytes) throw new SallyportError('LIMIT', 'a message is too long');
      if (this.#rest.length < 2 + length) return;
      const message = this.#rest.subarray(2, 2 + length);
      this.#rest = this.#rest.subarray(2 + length);
      this.#onMessage(message);
    }
  }
}
