import type { Endpoint } from '../endpoint.ts';
import type { Instant } from '../machine.ts';
import { pairKey } from './pair.ts';

interface Request {
  readonly transaction: string;
  readonly bytes: Uint8Array;
}

/** How long one request is used. */
const REQUEST_MS = 500;

/**
 * Probes to addresses that may or may not be the peer's, as a search for a port sends them: only one that answers
 * becomes a pair. All are one request, since thousands are sent; a receiver honours it once per source, so it is
 * renewed before the same address is tried again.
 */
export class Spray {
  readonly #newRequest: () => Request;
  #request: (Request & { readonly at: Instant }) | undefined;
  /** Whoever answers one of them is the peer. */
  readonly #transactions = new Set<string>();
  readonly #targets = new Set<string>();
  #sent = 0;

  constructor(newRequest: () => Request) {
    this.#newRequest = newRequest;
  }

  get sent(): number {
    return this.#sent;
  }

  /** Notes that a probe goes there; returns its bytes. */
  probe(socket: number, to: Endpoint, now: Instant): Uint8Array {
    if (!this.#request || now - this.#request.at >= REQUEST_MS) {
      this.#request = { ...this.#newRequest(), at: now };
      this.#transactions.add(this.#request.transaction);
    }
    this.#sent++;
    this.#targets.add(pairKey(socket, to));
    return this.#request.bytes;
  }

  awaits(transaction: string): boolean {
    return this.#transactions.has(transaction);
  }

  hasTried(socket: number, remote: Endpoint): boolean {
    return this.#targets.has(pairKey(socket, remote));
  }
}
