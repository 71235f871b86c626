import type { HandshakeResult } from './handshake.ts';
import type { SessionKeys } from './keys.ts';

/**
 * The keys of a session's latest handshake, and those that they were made from. Both are kept, since the other end may
 * not have got as far: the answer to an offer may be lost, and the last message of a path's TLS handshake as well.
 */
export class Epochs {
  #current: SessionKeys;
  #basis: SessionKeys;
  #proven = false;

  constructor(first: SessionKeys) {
    this.#current = first;
    this.#basis = first;
  }

  get current(): SessionKeys {
    return this.#current;
  }

  /** The epoch that an offer of this end's is to begin. */
  get next(): number {
    return this.#trusted.epoch + 1;
  }

  /** A path was secured with the current keys: the other end has them. */
  prove(): void {
    this.#proven = true;
  }

  /** The keys of that epoch, current from now on; `undefined` where it doesn't follow from any that are kept. */
  renew(epoch: number, result: HandshakeResult): SessionKeys | undefined {
    const basis = [this.#current, this.#basis].find((keys) => keys.epoch + 1 === epoch);
    if (!basis) return undefined;
    this.#basis = basis;
    this.#current = basis.next(result);
    this.#proven = false;
    return this.#current;
  }

  get #trusted(): SessionKeys {
    return this.#proven ? this.#current : this.#basis;
  }
}
