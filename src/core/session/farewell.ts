import type { Instant } from '../machine.ts';
import type { SessionEnd } from './events.ts';

/**
 * The end of a session: each end says GOAWAY, once and after its last reliable frame. It is over when both have, and
 * both were acknowledged, or when nothing has moved for too long.
 */
export class Farewell {
  readonly #timeoutMs: number;
  /** This end closes, with these words in its GOAWAY. */
  #own: SessionEnd | undefined;
  /** The peer's GOAWAY. */
  #peers: SessionEnd | undefined;
  #at: Instant | undefined;
  #forced = false;
  #said = false;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** When patience is over; `undefined` while nobody closes. */
  get deadline(): Instant | undefined {
    return this.#at;
  }

  /** Why the session ends, by this end's word before the peer's; `undefined` while nobody closes. */
  get end(): SessionEnd | undefined {
    return this.#own ?? this.#peers;
  }

  /** This end's GOAWAY is among the frames that were sent. */
  get said(): boolean {
    return this.#said;
  }

  /** The peer's GOAWAY has come. */
  get heard(): boolean {
    return this.#peers !== undefined;
  }

  /** Streams that had ended were given up as well: nobody's answer is waited for any more. */
  get forced(): boolean {
    return this.#forced;
  }

  begin(end: SessionEnd, now: Instant): void {
    this.#own = end;
    this.#at = now + this.#timeoutMs;
  }

  /** The peer has nothing more to say, so neither have we. */
  hear(end: SessionEnd, now: Instant): void {
    this.#peers = end;
    this.#own ??= end;
    this.#at ??= now + this.#timeoutMs;
  }

  /** @returns what GOAWAY is to tell */
  say(): SessionEnd {
    this.#said = true;
    return this.#own!;
  }

  /** While anything moves, a closing session waits. */
  progressed(now: Instant): void {
    if (this.#at !== undefined && !this.#forced) this.#at = now + this.#timeoutMs;
  }

  /** Time is over: a last, short one begins. False where that has passed as well. */
  force(now: Instant): boolean {
    if (this.#forced) return false;
    this.#forced = true;
    this.#at = now + this.#timeoutMs / 5;
    return true;
  }
}
