import type { PeerId } from '../src/core/identity.ts';

/** How many of one kind each peer has us keep, and how many it may. */
export class Quota {
  readonly #most: number;
  readonly #taken = new Map<PeerId, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** False where it has as many as it may. */
  take(peer: PeerId): boolean {
    const taken = this.#taken.get(peer) ?? 0;
    if (taken >= this.#most) return false;
    this.#taken.set(peer, taken + 1);
    return true;
  }

  giveBack(peer: PeerId): void {
    const left = this.#taken.get(peer)! - 1;
    if (left > 0) this.#taken.set(peer, left);
    else this.#taken.delete(peer);
  }
}
