import type { PeerId } from '../src/core/identity.ts';
import type { NatProfile } from '../src/core/nat/behavior.ts';
import { plan, type Stage } from '../src/core/punch/plan.ts';
import type { TransportObstacle } from '../src/core/punch/obstacle.ts';
import type { PathChoice } from '../src/core/punch/situation.ts';
import type { Acquaintance } from './introductions.ts';

/** What would be tried with a peer, and what is to be expected of it. */
export interface Prospect {
  readonly peer: PeerId;
  /** The kind of path to expect; `none` where the relay isn't allowed either. */
  readonly expected: PathChoice | 'none';
  /** That a direct path comes up, 0 to 1: of the likeliest stage. */
  readonly probability: number;
  /** What both ends would try, side by side where they can be, the likeliest first. */
  readonly stages: readonly Stage[];
  /** Transports that these NATs don't let through, and what would change that. */
  readonly obstacles: readonly TransportObstacle[];
  /** What both ends allow. */
  readonly kinds: readonly PathChoice[];
  /** What was measured here and, by its own word, at the peer's. */
  readonly here: NatProfile;
  readonly there: NatProfile;
  /** Between the two, as estimated by way of the rendezvous. */
  readonly roundTripMs: number;
}

/** As the initiator would plan it. */
export function prospectOf(peer: PeerId, { here, there, roundTripMs }: Acquaintance): Prospect {
  const { stages, unreachable } = plan(here, there);
  const ranked = stages.toSorted((a, b) => b.probability - a.probability);
  const kinds = here.kinds.filter((kind) => there.kinds.includes(kind));
  const best = ranked[0];
  const relay = kinds.includes('relay') ? 'relay' : 'none';
  return {
    peer,
    expected: best && best.probability >= LIKELY ? best.transport : relay,
    probability: best?.probability ?? 0,
    stages: ranked,
    obstacles: (['udp', 'tcp'] as const).flatMap((transport) => {
      const obstacle = unreachable[transport];
      return obstacle ? [{ transport, ...obstacle }] : [];
    }),
    kinds,
    here: here.profile,
    there: there.profile,
    roundTripMs,
  };
}

/** Less is not to be counted on. */
const LIKELY = 0.25;
