import type { Instant } from '../machine.ts';

/** The same address is flooded at most once in this time. */
const PER_TARGET_MS = 60_000;

/**
 * What protects NAT tables and third parties from many probes: in one process one flood at a time, and to one address
 * at most one a minute, each bounded by its stage (`BIRTHDAY_PROBES`). Shared by all sessions of a process.
 */
export class FloodBudget {
  #owner: object | undefined;
  /** By address: when its last flood began. */
  #floods = new Map<string, Instant>();

  /** Asks to flood `address`; `undefined` when granted (end with `release`), else why not now. */
  claim(owner: object, address: string, now: Instant): string | undefined {
    if (this.#owner !== undefined && this.#owner !== owner) return 'another session is flooding';
    for (const [known, at] of this.#floods) if (now - at >= PER_TARGET_MS) this.#floods.delete(known);
    if (this.#floods.has(address)) return 'the last flood to this address was less than a minute ago';
    this.#owner = owner;
    this.#floods.set(address, now);
    return undefined;
  }

  release(owner: object): void {
    if (this.#owner === owner) this.#owner = undefined;
  }
}
