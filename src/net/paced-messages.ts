import { LIMITS } from '../core/limits.ts';
import type { ToRendezvous } from '../core/protocol/rendezvous.ts';
import { TokenBucket } from '../core/token-bucket.ts';
import type { Clock } from './clock.ts';

/** Of what a rendezvous takes: what a lost packet has held up for five seconds comes all at once. */
const SHARE = 0.5;
const TURN_MS = 20;
/** What has waited behind so many is of no use to anybody: the oldest is dropped, as if the connection had lost it. */
const MOST_WAITING = 2_048;

/**
 * Messages to the rendezvous, no faster than it takes them of one node: it would close the connection, and the node couldn't be reached.
 * However many sessions have lost their paths at once, and whatever others make this end say, what is too much waits.
 */
export class PacedMessages {
  readonly #clock: Clock;
  readonly #send: (message: ToRendezvous) => void;
  /** Lasts longer than a connection, as the rendezvous's own does. */
  readonly #bucket: TokenBucket;
  #waiting: ToRendezvous[] = [];
  #cancelTurn: (() => void) | undefined;

  constructor(clock: Clock, send: (message: ToRendezvous) => void) {
    this.#clock = clock;
    this.#send = send;
    const { messagesPerSecond, messagesBurst } = LIMITS;
    this.#bucket = new TokenBucket(SHARE * messagesPerSecond, SHARE * messagesBurst, clock.now());
  }

  send(message: ToRendezvous): void {
    if (this.#waiting.length === 0 && this.#bucket.take(this.#clock.now())) return this.#send(message);
    this.#waiting.push(message);
    if (this.#waiting.length > MOST_WAITING) this.#waiting.shift();
    this.#cancelTurn ??= this.#clock.setTimer(() => this.#takeTurn(), TURN_MS);
  }

  /** What is answered for its own sake doesn't wait. */
  sendNow(message: ToRendezvous): void {
    this.#bucket.spend(this.#clock.now(), 1);
    this.#send(message);
  }

  /** Nothing goes to a connection that came after: whoever sent it does so again there. */
  clear(): void {
    this.#cancelTurn?.();
    this.#cancelTurn = undefined;
    this.#waiting = [];
  }

  #takeTurn(): void {
    this.#cancelTurn = undefined;
    const now = this.#clock.now();
    let sent = 0;
    while (sent < this.#waiting.length && this.#bucket.take(now)) this.#send(this.#waiting[sent++]!);
    this.#waiting.splice(0, sent);
    if (this.#waiting.length > 0) this.#cancelTurn = this.#clock.setTimer(() => this.#takeTurn(), TURN_MS);
  }
}
