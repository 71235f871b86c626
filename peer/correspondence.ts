import type { PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { NatProfile } from '../src/core/nat/behavior.ts';
import type { Candidate } from '../src/core/punch/candidate.ts';
import type { PortSample, RemoteCandidate } from '../src/core/punch/events.ts';
import type { PathChoice } from '../src/core/punch/situation.ts';
import type { Round, Update } from '../src/core/session/introduction.ts';
import type { SessionKeys } from '../src/core/session/keys.ts';
import type { Clock } from '../src/net/clock.ts';
import type { Deployment } from './deployment.ts';
import { NetworkNews } from './network-news.ts';
import type { Network } from './network.ts';
import type { Session } from './session.ts';
import { Sightings } from './sightings.ts';
import { Updates } from './updates.ts';

/** What the peer says of its network, as far as the rendezvous vouches for it. */
export interface PeerNews {
  readonly profile: NatProfile | undefined;
  readonly candidates: readonly RemoteCandidate[] | undefined;
  readonly samples: readonly PortSample[];
}

export interface CorrespondenceOptions {
  readonly session: Session;
  readonly id: Uint8Array;
  readonly peer: PeerId;
  readonly keys: SessionKeys;
  /** The peer's registration that the session was introduced with. */
  readonly instance: Uint8Array;
  /** What both ends allow. */
  readonly kinds: readonly PathChoice[];
  /** Of our network, in the offer or the answer. */
  readonly told: { readonly candidates: readonly Candidate[]; readonly profile: NatProfile };
  readonly network: Network;
  readonly deployment: Deployment;
  readonly clock: Clock;
  /** The peer may know of our network, now. */
  readonly mayTell: () => boolean;
  /** There is something to tell; called before it is sent. */
  readonly onTelling: () => void;
  /** The peer holds the session's keys, and says this; `round`: to be started with us. */
  readonly onHeard: (news: PeerNews, round: Round | undefined) => void;
}

/** Changes of our own network within this time travel as one update. */
const GATHER_MS = 10;

/** What the two ends tell each other of their networks: each thing once in each round of punching. */
export class Correspondence {
  readonly #options: CorrespondenceOptions;
  readonly #updates: Updates;
  readonly #sightings: Sightings;
  readonly #news = new NetworkNews();
  #cancel: (() => void) | undefined;

  constructor(options: CorrespondenceOptions) {
    const { session, id, peer, keys, instance, deployment, clock } = options;
    this.#options = options;
    this.#sightings = new Sightings(deployment, peer);
    const onUpdate = (update: Update) => this.#hear(update);
    this.#updates = new Updates({ session, id, keys, instance, deployment, clock, onUpdate });
    this.#news.told(options.told);
  }

  /** The peer's registration: the one that it was last heard of by. */
  get instance(): Uint8Array {
    return this.#updates.instance;
  }

  /** Goes on with the keys of a new handshake; the peer has forgotten everything. */
  renew(keys: SessionKeys, instance: Uint8Array): void {
    this.#updates.renew(keys, instance);
    this.forgotten();
  }

  /**
   * Takes what the rendezvous brought from this registration of the peer.
   * @throws SallyportError `PROTOCOL_ERROR` where it isn't the peer's
   */
  openBox(box: Uint8Array, instance: Uint8Array): void {
    this.#updates.open(box, instance);
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
    this.#options.onTelling();
    this.#updates.send(news);
  }

  /** Tells nothing, which proves that this end holds the keys. */
  proveKeys(): void {
    this.#updates.send({});
  }

  /** A round begins with what both networks are now. False where the peer could not be told of it. */
  propose(round: Round): boolean {
    const face = this.#face;
    if (!this.#updates.send({ ...face, round })) return false;
    this.#news.told(face);
    return true;
  }

  /** Tells of a port for a fresh round at once, and proposes that round unless the peer did. */
  tellFresh(candidate: Candidate, round?: Round): void {
    this.#updates.send({ candidates: [candidate], round });
  }

  /** Tells at once where this end's NAT counts its ports. */
  tellSample(candidate: Candidate): void {
    this.#updates.send({ samples: [candidate] });
  }

  stop(): void {
    this.#cancel?.();
  }

  #hear({ candidates, profile, samples = [], round }: Update): void {
    const news = {
      profile,
      candidates: candidates && this.#sightings.mark(candidates),
      samples: this.#sightings.date(samples),
    };
    this.#options.onHeard(news, round);
  }

  get #face(): { candidates: Candidate[]; profile: NatProfile; samples: Candidate[] } {
    const { network, kinds } = this.#options;
    const all = [...network.publicCandidates, ...network.hostCandidates];
    const candidates = all.filter(({ transport }) => kinds.includes(transport)).slice(0, LIMITS.candidates);
    const samples = network.samples.map(({ candidate }) => candidate);
    return { candidates, profile: network.profile, samples };
  }
}
