import type { TransportProfile } from '../nat/behavior.ts';
import type { SessionRole } from '../session/role.ts';
import { UNPREDICTABLE, type Obstacle } from './obstacle.ts';
import type { Stage } from './stage.ts';
import { planBirthday } from './plan-birthday.ts';
import { planPrediction } from './plan-prediction.ts';
import { acceptsAnyPort, confidence, hasDependentMapping, hasOpenFilter, isSequential } from './situation.ts';

/**
 * UDP: a datagram to the right port opens the own NAT, and passes the other's once that is open too. One that is too
 * early is dropped, which ends nothing: it is sent again.
 *
 * | mappings                                    | what is done                                                   |
 * |---------------------------------------------|----------------------------------------------------------------|
 * | both endpoint-independent                   | both send to what the STUN server saw, at the same moment      |
 * | one dependent, the other's filter takes any port | the dependent end sends, the other answers where it came from |
 * | one dependent and sequential                | its next port is predicted; then a birthday                    |
 * | one dependent and random                    | a birthday                                                     |
 * | both dependent, both filters open to all    | both send to what the STUN server saw                          |
 * | both dependent, one on the address alone; one's filter open to all, the other's to any port | that other one sends to what the server saw |
 * | both dependent, both sequential             | both are predicted                                             |
 * | both dependent, one on the address alone, and its filter takes any port | a birthday: that end holds many ports open |
 * | both dependent otherwise                    | nothing: about 65,000 mappings would be needed (`UNPREDICTABLE`) |
 */
export function planUdp(a: TransportProfile, b: TransportProfile): Stage[] | Obstacle {
  const [aDepends, bDepends] = [hasDependentMapping(a), hasDependentMapping(b)];
  if (aDepends && bDepends) {
    const oneAnswers = answersWhereMet(a) || answersWhereMet(b);
    const bothOpen = hasOpenFilter(a) && hasOpenFilter(b);
    if (bothOpen || (oneAnswers && letsIn(b, a))) return [planAnswer('initiator', 0.9)];
    if (oneAnswers && letsIn(a, b)) return [planAnswer('responder', 0.9)];
    if (isSequential(a) && isSequential(b)) return [planPrediction('udp', 'both', a, b)];
    if (answersWhereMet(a)) return [planBirthday('udp', 'initiator', a, b)];
    if (answersWhereMet(b)) return [planBirthday('udp', 'responder', b, a)];
    return UNPREDICTABLE;
  }
  if (aDepends) return planOneDependent(a, b, 'initiator', planPrediction('udp', 'initiator', a, b));
  if (bDepends) return planOneDependent(b, a, 'responder', planPrediction('udp', 'responder', a, b));
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
  if (acceptsAnyPort(other)) return [planAnswer(first, 0.98)];
  // While UDP may be blocked altogether, a search would be in vain, and keep others from theirs.
  if (hard.reachable !== true || other.reachable !== true) return [planAnswer(first, 0.3)];
  const birthday = planBirthday('udp', first, hard, other);
  const search = isSequential(hard) ? [prediction, birthday] : [birthday];
  // A filter seen from one server address may be more open than it looked.
  const mayBeOpen = other.filtering === 'unknown' || other.provisional;
  return mayBeOpen ? [planAnswer(first, 0.3), ...search] : search;
}

/** `open` lets anybody in by the mapping that a server saw; `sender` sends there, and takes the answer from any port. */
function letsIn(open: TransportProfile, sender: TransportProfile): boolean {
  return hasOpenFilter(open) && acceptsAnyPort(sender);
}

/**
 * Each of its mappings towards one peer takes what comes from any port of that, and is the one that the answer leaves
 * by, whatever filter the peer has.
 */
function answersWhereMet(profile: TransportProfile): boolean {
  return profile.mapping === 'address-dependent' && acceptsAnyPort(profile);
}

function planAnswer(first: SessionRole, probability: number): Stage {
  const answer = { technique: 'peer-reflexive answer', transport: 'udp', first } as const;
  return { ...answer, packets: 32, seconds: 0.2, probability };
}
