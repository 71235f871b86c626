import type { PeerId } from '../src/core/identity.ts';
import type { NatProfile } from '../src/core/nat/behavior.ts';
import { plan } from '../src/core/punch/plan.ts';
import type { Stage } from '../src/core/punch/stage.ts';
import type { TransportObstacle } from '../src/core/punch/obstacle.ts';
import type { PathChoice } from '../src/core/punch/situation.ts';
import type { Success } from './history.ts';
import type { Acquaintance } from './introductions.ts';

/** What would be tried with a peer, and what is to be expected of it. */
export interface Prospect {
  readonly peer: PeerId;
  /** The kind of path to expect; `none` where the relay isn't allowed either. */
  readonly expected: PathChoice | 'none';
  /** That a direct path comes up, 0 to 1: of the first stage. */
  readonly probability: number;
  /** What both ends would try, side by side where they can be: what worked last first, then the likeliest. */
  readonly stages: readonly Stage[];
  /** What made the last direct path with this peer between these two networks, and how long ago. */
  readonly worked?: Pick<Success, 'transport' | 'technique'> & { readonly secondsAgo: number };
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

/**
 * As the initiator would plan it.
 * @param worked between the two networks as they are now
 * @param now milliseconds since 1970
 */
export function prospectOf(
  peer: PeerId,
  { here, there, roundTripMs }: Acquaintance,
  worked?: Success,
  now = Date.now(),
): Prospect {
  const { stages, unreachable } = plan(here, there);
  const isProven = ({ transport, technique }: Stage) =>
    worked?.transport === transport && worked.technique === technique;
  const ranked = stages.toSorted(
    (a, b) => Number(isProven(b)) - Number(isProven(a)) || b.probability - a.probability,
  );
  const kinds = here.kinds.filter((kind) => there.kinds.includes(kind));
  const best = ranked[0];
  const relay = kinds.includes('relay') ? 'relay' : 'none';
  return {
    peer,
    expected: best && (best.probability >= LIKELY || isProven(best)) ? best.transport : relay,
    probability: best?.probability ?? 0,
    stages: ranked,
    ...(worked && {
      worked: {
        transport: worked.transport,
        technique: worked.technique,
        secondsAgo: Math.max(0, Math.round((now - worked.at) / 1_000)),
      },
    }),
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
