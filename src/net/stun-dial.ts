import { setMaxListeners } from 'node:events';
import type { Endpoint } from '../core/endpoint.ts';
import type { DialOutcome } from '../core/stun/message.ts';
import { dialTcp } from './tcp.ts';
import { resetConnection } from './reset.ts';

/** Dials registered peers back for as long as one SYN is worth waiting for, and closes at once. */
export class StunDialer {
  readonly #closing = new AbortController();
  #dials = 0;

  constructor() {
    setMaxListeners(MAX_DIALS, this.#closing.signal);
  }

  /** From any port of `localAddress`; `undefined` where this server can't dial just now, which says nothing of the peer. */
  async dial(remote: Endpoint, localAddress: string): Promise<DialOutcome | undefined> {
    if (this.#dials >= MAX_DIALS || this.#closing.signal.aborted) return undefined;
    this.#dials++;
    try {
      const { signal } = this.#closing;
      const socket = await dialTcp({ remote, localAddress, timeoutMs: ONE_SYN_MS, signal });
      resetConnection(socket);
      return 'connected';
    } catch (error) {
      return OUTCOMES.get((error as { code?: string }).code ?? '');
    } finally {
      this.#dials--;
    }
  }

  close(): void {
    this.#closing.abort();
  }
}

const OUTCOMES: ReadonlyMap<string, DialOutcome> = new Map([
  ['TARGET_REFUSED', 'refused'],
  ['TIMEOUT', 'silent'],
]);

/** Linux repeats a SYN after 1 s. */
const ONE_SYN_MS = 900;
/** At a time, for all peers. */
const MAX_DIALS = 256;
