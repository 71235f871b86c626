import { asSallyportError } from '../src/core/errors.ts';
import type { Clock } from '../src/net/clock.ts';
import type { Session } from './session.ts';

export interface ResumptionOptions {
  readonly session: Session;
  readonly clock: Clock;
  /** Makes a new handshake with the peer by way of the rendezvous, unless `signal` says that it isn't wanted any more. */
  readonly reoffer: (signal: AbortSignal) => Promise<void>;
}

/** A circuit that is dialled again with the keys that there are has had its chance by then. */
const PATIENCE_MS = 2_000;
/** The end that didn't initiate the session leaves it to the other for this much longer. */
const RESPONDER_PATIENCE_MS = 700;
const RETRY_MS = 2_000;
/** How long a handshake may take to lead to a path. */
const FRUITLESS_MS = 15_000;

/**
 * Has a session that lost all its paths offered anew, again and again until one comes up or the session's time is over
 * (docs/protocol.md, "Life and death").
 */
export class Resumption {
  readonly #options: ResumptionOptions;
  #cancel: (() => void) | undefined;
  #offering: AbortController | undefined;
  #stopped = false;

  constructor(options: ResumptionOptions) {
    this.#options = options;
    const { session } = options;
    const patienceMs = PATIENCE_MS + (session.role === 'initiator' ? 0 : RESPONDER_PATIENCE_MS);
    session.on('path', ({ state }) => {
      if (state !== 'down') this.#callOff();
      else if (!session.path && !this.#cancel) this.#offerIn(patienceMs);
    });
  }

  /** The way to the rendezvous is open again. */
  hurry(): void {
    if (this.#cancel) this.#offerIn(0);
  }

  /** Both ends have new keys, whoever offered: a path is to come of it. */
  resumed(): void {
    // An own offer that waits for its turn would be for the epoch that has just begun, and end it again.
    this.#offering?.abort();
    this.#offerIn(FRUITLESS_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#offering?.abort();
    this.#callOff();
  }

  get #isLost(): boolean {
    return this.#options.session.driver.paths.length === 0;
  }

  #callOff(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #offerIn(ms: number): void {
    this.#cancel?.();
    this.#cancel = this.#options.clock.setTimer(() => {
      this.#cancel = undefined;
      void this.#offer();
    }, ms);
  }

  async #offer(): Promise<void> {
    const { session, reoffer } = this.#options;
    if (this.#stopped || this.#offering || !this.#isLost) return;
    this.#offering = new AbortController();
    try {
      await reoffer(this.#offering.signal);
    } catch (thrown) {
      const { code, message } = asSallyportError(thrown);
      if (code === 'SESSION_UNKNOWN' || code === 'NOT_AUTHORIZED') session.driver.destroy(code, message);
      // Where the other end's offer has taken its place, that one's time runs.
      else if (!this.#stopped && !this.#cancel) this.#offerIn(RETRY_MS);
    } finally {
      this.#offering = undefined;
    }
  }
}
