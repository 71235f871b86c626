import type { Instant } from '../src/core/machine.ts';
import type { ToNode } from '../src/core/protocol/rendezvous.ts';

const KEPT = 16;
const KEPT_MS = 10_000;

/**
 * What was passed on to a node last. A node that comes back by another connection has found the first one silent, or dropped it
 * unread as it woke from sleep: what was sent by it may never arrive, and is sent again. Whoever had it already passes it over.
 */
export class RecentMessages {
  #messages: { readonly message: ToNode; readonly at: Instant }[] = [];

  add(message: ToNode, now: Instant): void {
    this.#messages.push({ message, at: now });
    if (this.#messages.length > KEPT) this.#messages.shift();
  }

  /** Drops what is too old to be waited for. */
  forget(now: Instant): void {
    if (this.#messages.length > 0) this.#messages = this.#messages.filter(({ at }) => at + KEPT_MS > now);
  }

  /** Oldest first. */
  since(now: Instant): ToNode[] {
    this.forget(now);
    return this.#messages.map(({ message }) => message);
  }
}
