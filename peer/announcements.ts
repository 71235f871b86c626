import { LIMITS } from '../src/core/limits.ts';
import type { NatProfile } from '../src/core/nat/behavior.ts';
import type { Candidate } from '../src/core/punch/candidate.ts';
import type { PathChoice } from '../src/core/punch/situation.ts';
import type { Round, UpdateFields } from '../src/core/session/introduction.ts';
import type { Clock } from '../src/net/clock.ts';
import { NetworkNews } from './network-news.ts';
import type { Network } from './network.ts';

export interface AnnouncementsOptions {
  /** What both ends allow. */
  readonly kinds: readonly PathChoice[];
  /** Of our network, in the offer or the answer. */
  readonly told: { readonly candidates: readonly Candidate[]; readonly profile: NatProfile };
  readonly network: Network;
  readonly clock: Clock;
  /** The peer may know of our network, now. */
  readonly mayTell: () => boolean;
  /** There is something to tell; called before it is sent. */
  readonly onNews: () => void;
  /** False where there is no way to the peer. */
  readonly send: (update: UpdateFields) => boolean;
}

/** Changes of our own network within this time travel as one update. */
const GATHER_MS = 10;

/** Keeps the peer informed of our network: each thing once in each round of punching. */
export class Announcements {
  readonly #options: AnnouncementsOptions;
  readonly #news = new NetworkNews();
  #cancel: (() => void) | undefined;

  constructor(options: AnnouncementsOptions) {
    this.#options = options;
    this.#news.told(options.told);
  }

  /** The peer has forgotten everything, or may never have had it. */
  forgotten(): void {
    this.#news.forgotten();
  }

  /** Tells what has changed, with what else changes in a moment. */
  tellSoon(): void {
    this.#cancel ??= this.#options.clock.setTimer(() => {
      this.#cancel = undefined;
      this.tell();
    }, GATHER_MS);
  }

  /** Tells what the peer doesn't know yet. */
  tell(): void {
    if (!this.#options.mayTell()) return;
    const news = this.#news.of(this.#face);
    if (!news) return;
    this.#options.onNews();
    this.#options.send(news);
  }

  /** A round begins with what both networks are now. False where the peer could not be told of it. */
  propose(round: Round): boolean {
    const face = this.#face;
    if (!this.#options.send({ ...face, round })) return false;
    this.#news.told(face);
    return true;
  }

  stop(): void {
    this.#cancel?.();
  }

  get #face(): { candidates: Candidate[]; profile: NatProfile; samples: Candidate[] } {
    const { network, kinds } = this.#options;
    const all = [...network.publicCandidates, ...network.hostCandidates];
    const candidates = all.filter(({ transport }) => kinds.includes(transport)).slice(0, LIMITS.candidates);
    const samples = network.samples.map(({ candidate }) => candidate);
    return { candidates, profile: network.profile, samples };
  }
}
