import type { Instant } from '../machine.ts';
import { RateLimiter, TokenBucket } from '../token-bucket.ts';

/** Probes and dials to one address that nobody vouched for: four rounds' worth of ten, then as many in a minute. */
const PER_ADDRESS = { perSecond: 40 / 60, burst: 40 };
/** To all of them together. */
const TOTAL = { perSecond: 50, burst: 200 };

/**
 * What keeps a peer, by session after session and round after round, from making this process disturb third parties:
 * every probe to an address that only the peer itself named is paid for here, until the address has answered as the
 * peer. Shared by all sessions of a process.
 */
export class ProbeBudget {
  #addresses = new RateLimiter(PER_ADDRESS);
  #total: TokenBucket | undefined;

  /** True when one more may be sent to `address`. */
  take(address: string, now: Instant): boolean {
    this.#total ??= new TokenBucket(TOTAL.perSecond, TOTAL.burst, now);
    return this.#addresses.take(address, now) && this.#total.take(now);
  }

  /** The peer answered from there: it is no third party. */
  forgive(address: string): void {
    this.#addresses.forget(address);
  }
}
