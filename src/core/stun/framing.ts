import { concat } from '../bytes.ts';
import { LIMITS } from '../limits.ts';
import { HEADER_LENGTH, malformed, uint16At } from './attribute.ts';

/** Cuts a TCP byte stream into STUN messages, which carry their own length (RFC 8489 §6.2.2). */
export class StunFramer {
  #held: Uint8Array = new Uint8Array(0);

  /**
   * The messages that `chunk` completes, oldest first; they are not judged beyond their length.
   * @throws SallyportError `PROTOCOL_ERROR` when a message would be longer than 4 KiB or isn't STUN at all
   */
  push(chunk: Uint8Array): Uint8Array[] {
    const messages: Uint8Array[] = [];
    this.#held = concat(this.#held, chunk);
    for (let length = this.#nextLength(); length !== undefined; length = this.#nextLength()) {
      messages.push(this.#held.subarray(0, length));
      this.#held = this.#held.subarray(length);
    }
    return messages;
  }

  /** The length of the message at the front, if it is whole. */
  #nextLength(): number | undefined {
    if (this.#held.length === 0) return undefined;
    if (this.#held[0]! >> 6 !== 0) throw malformed('not STUN over TCP');
    if (this.#held.length < HEADER_LENGTH) return undefined;
    const length = HEADER_LENGTH + uint16At(this.#held, 2);
    if (length > LIMITS.preAuthBytes) throw malformed(`a message of ${length} bytes`);
    return this.#held.length < length ? undefined : length;
  }
}
