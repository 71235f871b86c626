import type { Instant } from '../machine.ts';
import type { SessionRole } from '../session/role.ts';
import { comparePairs, type CandidatePair } from './pair.ts';

/** A better pair than the first valid one may still answer for this long after T0. */
const BETTER_PAIR_MS = 30;

/** How long a found port that was nominated early may take to answer, before another that has answered will do. */
const EARLY_NOMINATION_MS = 1_000;

/**
 * Which of the valid pairs is used (RFC 8445 §8.1.1). Both ends *settle* on their best valid pair; the initiator's
 * choice is the *nomination*, and each says with its probes and answers on which pair it has settled.
 *
 * Departure from RFC 8445: the responder doesn't wait half a round trip for the nomination where every pair uses the
 * one shared socket. Two different valid pairs carry traffic both ways all the same, and the nomination corrects the
 * responder later.
 */
export class Nomination {
  readonly #role: SessionRole;
  /** Before this instant a pair is settled on only if none better can come. */
  #settleFrom: Instant | undefined;
  #settleAt: Instant | undefined;
  #settled: CandidatePair | undefined;
  /** The pair that the initiator nominated, at the responder. */
  #nominated: CandidatePair | undefined;
  /** The pair that we nominate, as the initiator, before it has answered. */
  #early: { readonly pair: CandidatePair; readonly until: Instant } | undefined;
  /** The other end has settled on our settled pair as well. */
  #agreed = false;

  constructor(role: SessionRole) {
    this.#role = role;
  }

  get settled(): CandidatePair | undefined {
    return this.#settled;
  }

  get agreed(): boolean {
    return this.#agreed;
  }

  /** When `settle` is to be called again; `undefined` where no pair is waited for. */
  get deadline(): Instant | undefined {
    return this.#settleAt;
  }

  /** T0, or the first contact where that was earlier: better pairs answer soon after it. */
  begin(at: Instant): void {
    this.#settleFrom ??= at + BETTER_PAIR_MS;
  }

  /** No better pair is waited for any more. */
  end(): void {
    this.#settleAt = undefined;
  }

  /** Whether probes and answers over this pair say that we have settled on it. */
  isOurs(pair: CandidatePair): boolean {
    return this.#settled ? pair === this.#settled : pair === this.#early?.pair;
  }

  /**
   * The peer's probe came from a port that was searched for: so its NAT lets our answer in, and the search is over. As
   * in aggressive nomination (RFC 5245 §8.1.1.2) we say so with that answer, and the responder, who waits to be told
   * which of its sockets is meant, needn't wait for another round trip.
   */
  nominateEarly(pair: CandidatePair, now: Instant): void {
    if (this.#role !== 'initiator' || this.#settled || this.#early) return;
    this.#early = { pair, until: now + EARLY_NOMINATION_MS };
  }

  /** The peer has settled on this pair: the initiator's word is what counts. */
  hear(pair: CandidatePair): void {
    if (this.#role === 'responder') this.#nominated = pair;
  }

  /** True where that is ours as well. To be asked after `settle`. */
  agree(pair: CandidatePair): boolean {
    if (pair !== this.#settled) return false;
    this.#agreed = true;
    return true;
  }

  /** @returns the pair that is used from now on, where that is another than before */
  settle(pairs: readonly CandidatePair[], now: Instant): CandidatePair | undefined {
    this.#settleAt = undefined;
    const best = this.#best(pairs, now);
    if (!best || best === this.#settled) return undefined;
    this.#settled = best;
    this.#agreed = false;
    return best;
  }

  /** The pair to settle on now, if there is one; sets `#settleAt` where it pays to wait. */
  #best(pairs: readonly CandidatePair[], now: Instant): CandidatePair | undefined {
    if (this.#nominated?.valid) return this.#nominated;
    if (this.#settled) return this.#settled;
    const valid = pairs.filter((pair) => pair.valid).sort(comparePairs);
    const early = this.#early && now < this.#early.until ? this.#early : undefined;
    if (early && valid.length > 0 && !early.pair.valid) {
      this.#settleAt = early.until;
      return undefined;
    }
    const best = early?.pair ?? valid[0];
    if (!best?.valid || (this.#role === 'responder' && hasOwnSockets(pairs))) return undefined;
    if (best.type === 'host' || best.isNearest || now >= this.#settleFrom!) return best;
    this.#settleAt = this.#settleFrom;
    return undefined;
  }
}

/** With several local sockets the two ends have to mean the same one, so the responder waits to be told. */
function hasOwnSockets(pairs: readonly CandidatePair[]): boolean {
  return pairs.some(({ socket }) => socket !== 0);
}
