import type { TransportProfile } from '../nat/behavior.ts';
import type { SessionRole } from '../session/keys.ts';
import type { Transport } from './candidate.ts';
import { NO_HAIRPIN, type Obstacle } from './obstacle.ts';
import { BIRTHDAY_PROBES } from './schedule.ts';
import {
  acceptsAnybody,
  acceptsAnyPort,
  hasDependentMapping,
  sharesPublicAddress,
  type PeerSituation,
} from './situation.ts';

/** The names that people are shown. The last one is how a simultaneous open goes on where nothing crosses. */
export type Technique = Stage['technique'] | 'connect then listen';

/**
 * One thing that two peers try. `packets`: at most this many from either end; `seconds`: how long it takes where it
 * works; `probability` that it does.
 */
export type Stage = {
  readonly packets: number;
  readonly seconds: number;
  readonly probability: number;
} & (
  | { readonly technique: 'local addresses'; readonly transport: Transport }
  | { readonly technique: 'simultaneous probes'; readonly transport: 'udp' }
  /** `first` sends to the other's mapping, which sees where that came from and answers there. */
  | { readonly technique: 'peer-reflexive answer'; readonly transport: 'udp'; readonly first: SessionRole }
  /** `many` opens many sockets towards the other's one mapping, and the other looks for one of their ports. */
  | { readonly technique: 'birthday'; readonly transport: 'udp'; readonly many: SessionRole }
  /** Of `predicted` end's NAT; `steps`: what each end's NAT adds from one mapping to the next. */
  | {
      readonly technique: 'port prediction';
      readonly transport: 'udp';
      readonly predicted: SessionRole | 'both';
      readonly steps: Readonly<Record<SessionRole, number>>;
    }
  | {
      readonly technique: 'direct dial' | 'reversed dial';
      readonly transport: 'tcp';
      readonly dialer: SessionRole;
    }
  | { readonly technique: 'simultaneous open'; readonly transport: 'tcp' }
);

export interface Plan {
  readonly stages: readonly Stage[];
  /** Only local addresses are tried by a transport that is named here. */
  readonly unreachable: Readonly<Partial<Record<Transport, Obstacle>>>;
}

/**
 * Hole punching, decided. A NAT gives each inner socket an outer address and port, its *mapping*, and lets in only
 * what its *filter* allows. Two questions decide what can be done:
 *
 * 1. Is the mapping that a STUN server saw the one that the peer will see? Yes where it is endpoint-independent; then
 *    the other end knows where to send. No where every destination gets a mapping of its own.
 * 2. Will the filter let the peer's packet in? Always, once this end has sent to exactly the address and port that the
 *    packet comes from, which is why both ends send at the same moment: each packet opens its own NAT for the other's.
 *
 * So two endpoint-independent mappings always meet. With one dependent mapping, that end has to send first, and the
 * other learns from the packet where it came from, if its filter lets the packet in. If not, the port has to be found:
 * by prediction where the NAT counts its ports up, by a birthday where it picks them at random. With two dependent
 * mappings there is nowhere to aim, unless both NATs count.
 *
 * Pure, and the same at both ends: `a` is the session's initiator, `b` its responder. What isn't measured yet counts
 * as endpoint-independent with little confidence: trying costs a few packets.
 */
export function plan(a: PeerSituation, b: PeerSituation): Plan {
  const stages: Stage[] = [];
  const unreachable: Partial<Record<Transport, Obstacle>> = {};
  for (const transport of ['udp', 'tcp'] as const) {
    const forbidden = [a, b].some(({ kinds }) => !kinds.includes(transport));
    const planned = forbidden ? NOT_ALLOWED : planTransport(transport, a, b);
    if (!forbidden) stages.push(localAddresses(transport, a.profile[transport], b.profile[transport]));
    if (Array.isArray(planned)) stages.push(...planned);
    else unreachable[transport] = planned;
  }
  return { stages, unreachable };
}

function planTransport(transport: Transport, a: PeerSituation, b: PeerSituation): Stage[] | Obstacle {
  const [x, y] = [a.profile[transport], b.profile[transport]];
  if (x.reachable === false || y.reachable === false) return BLOCKED[transport];
  if (sharesPublicAddress(x, y) && (x.hairpin === false || y.hairpin === false)) return NO_HAIRPIN;
  return transport === 'udp' ? planUdp(x, y) : planTcp(x, y);
}

function planUdp(a: TransportProfile, b: TransportProfile): Stage[] | Obstacle {
  const [aDepends, bDepends] = [hasDependentMapping(a), hasDependentMapping(b)];
  if (aDepends && bDepends) {
    if (!isSequential(a) || !isSequential(b)) return UNPREDICTABLE;
    return [planPrediction(a, b, 'both', 0.93)];
  }
  if (aDepends) return planOneDependent(a, b, 'initiator', planPrediction(a, b, 'initiator', 0.95));
  if (bDepends) return planOneDependent(b, a, 'responder', planPrediction(a, b, 'responder', 0.95));
  const probability = confidence(a) * confidence(b);
  return [{ technique: 'simultaneous probes', transport: 'udp', packets: 32, seconds: 0.2, probability }];
}

/** `first` is the end whose mapping depends on the destination; all hangs on the other's filter. */
function planOneDependent(
  hard: TransportProfile,
  other: TransportProfile,
  first: SessionRole,
  prediction: Stage,
): Stage[] {
  const answer = {
    technique: 'peer-reflexive answer',
    transport: 'udp',
    first,
    packets: 32,
    seconds: 0.2,
  } as const;
  if (acceptsAnyPort(other)) return [{ ...answer, probability: 0.98 }];
  const birthday = planBirthday(hard, first);
  const search = isSequential(hard) ? [prediction, birthday] : [birthday];
  // A filter seen from one server address may be more open than it looked.
  const mayBeOpen = other.filtering === 'unknown' || other.provisional;
  return mayBeOpen ? [{ ...answer, probability: 0.3 }, ...search] : search;
}

function planPrediction(
  a: TransportProfile,
  b: TransportProfile,
  predicted: SessionRole | 'both',
  probability: number,
): Stage {
  const steps = { initiator: stepOf(a), responder: stepOf(b) };
  const stage = { technique: 'port prediction', transport: 'udp', predicted, steps } as const;
  return { ...stage, packets: 300, seconds: 0.3, probability };
}

function planBirthday({ allocation }: TransportProfile, many: SessionRole): Stage {
  const probability = allocation.kind === 'random' ? 0.98 : 0.9;
  return {
    technique: 'birthday',
    transport: 'udp',
    many,
    packets: BIRTHDAY_PROBES,
    seconds: 0.5,
    probability,
  };
}

function planTcp(a: TransportProfile, b: TransportProfile): Stage[] | Obstacle {
  const dial = { transport: 'tcp', packets: 20, seconds: 0.2, probability: 0.98 } as const;
  if (acceptsAnybody(b)) return [{ technique: 'direct dial', dialer: 'initiator', ...dial }];
  if (acceptsAnybody(a)) return [{ technique: 'reversed dial', dialer: 'responder', ...dial }];
  if (hasDependentMapping(a) && hasDependentMapping(b)) return BOTH_DEPEND;
  if (hasDependentMapping(a) || hasDependentMapping(b)) return ONE_DEPENDS;
  const probability = confidence(a) * confidence(b) * 0.95;
  return [{ technique: 'simultaneous open', transport: 'tcp', packets: 40, seconds: 0.2, probability }];
}

function isSequential({ allocation }: TransportProfile): boolean {
  return allocation.kind === 'sequential';
}

function stepOf({ allocation }: TransportProfile): number {
  return allocation.kind === 'sequential' ? allocation.step : 1;
}

function localAddresses(transport: Transport, a: TransportProfile, b: TransportProfile): Stage {
  const probability = sharesPublicAddress(a, b) ? 0.7 : 0.05;
  return { technique: 'local addresses', transport, packets: 200, seconds: 0.05, probability };
}

/** That this profile's mapping really is endpoint-independent. */
function confidence({ mapping, provisional }: TransportProfile): number {
  if (mapping === 'unknown') return 0.5;
  return provisional ? 0.9 : 0.99;
}

const NOT_ALLOWED: Obstacle = {
  code: 'NOT_ALLOWED',
  reason: 'one of the two peers does not allow this kind of path',
};

const BLOCKED: Record<Transport, Obstacle> = {
  udp: {
    code: 'UDP_BLOCKED',
    reason: 'one of the two networks lets no UDP out',
    remedy: 'a network that lets UDP out would allow it',
  },
  tcp: {
    code: 'TCP_BLOCKED',
    reason: 'one of the two networks lets no TCP out but to a few ports',
    remedy: 'a network that lets TCP out to any port would allow it',
  },
};

const KEEP_ONE_PORT =
  'enabling UPnP or NAT-PMP on either router, or a NAT there that keeps one port for all destinations, would make it direct';

const UNPREDICTABLE: Obstacle = {
  code: 'BOTH_UNPREDICTABLE',
  reason: 'both NATs use another port for each destination, and at least one picks it unpredictably',
  remedy: KEEP_ONE_PORT,
};

const BOTH_DEPEND: Obstacle = {
  code: 'BOTH_UNPREDICTABLE',
  reason: 'both NATs use another port for each destination, so neither end knows where to send',
  remedy: KEEP_ONE_PORT,
};

const ONE_DEPENDS: Obstacle = {
  code: 'ONE_UNPREDICTABLE',
  reason:
    'one NAT uses another port for each destination, and the other lets in only answers from ports that it sent to',
  remedy: KEEP_ONE_PORT,
};
