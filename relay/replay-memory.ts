import { hex } from '../src/core/bytes.ts';
import { SallyportError } from '../src/core/errors.ts';
import type { Instant } from '../src/core/machine.ts';
import type { TicketOpening } from '../src/core/protocol/ticket.ts';

const CAPACITY = 65_536;

/** Which (ticket, random) pairs have opened a leg, for as long as the ticket could open another. */
export class ReplayMemory {
  readonly #seen = new Map<string, Instant>();

  /** @throws SallyportError `TICKET_INVALID` on a pair seen before, `LIMIT` when nothing more can be remembered */
  remember({ ticket, bytes, random }: TicketOpening, now: Instant): void {
    const key = `${hex(bytes.subarray(-16))} ${hex(random)}`; // the end of the ticket's signature stands for it
    if (this.#seen.has(key)) throw new SallyportError('TICKET_INVALID', 'this opening was used before');
    if (this.#seen.size >= CAPACITY) this.forget(now);
    if (this.#seen.size >= CAPACITY) throw new SallyportError('LIMIT', 'too many openings');
    this.#seen.set(key, ticket.expires);
  }

  forget(now: Instant): void {
    for (const [key, expires] of this.#seen) {
      if (expires < now) this.#seen.delete(key);
    }
  }

  get size(): number {
    return this.#seen.size;
  }
}
