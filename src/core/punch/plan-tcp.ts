import type { TransportProfile } from '../nat/behavior.ts';
import { otherRole, type SessionRole } from '../session/role.ts';
import { ONE_UNPREDICTABLE, UNPREDICTABLE, type Obstacle } from './obstacle.ts';
import type { Stage } from './stage.ts';
import { planBirthday } from './plan-birthday.ts';
import { planPrediction } from './plan-prediction.ts';
import { acceptsAnybody, confidence, hasDependentMapping, isSequential } from './situation.ts';

/**
 * TCP: what is known of UDP, and three things more. A SYN that meets no socket at its end is answered by a RST, which
 * ends the attempt at both; so the two ends dial each other at once (simultaneous open, RFC 9293 §3.5), or one of them
 * listens. Some NATs answer strays by RST as well, or let no SYN in that crosses their own. And many attempts look
 * like a port scan, so a birthday is held only where no UDP passes (`udpBlocked`).
 *
 * | NATs                                    | what is done                                                   |
 * |-----------------------------------------|----------------------------------------------------------------|
 * | one lets anybody in                     | the other dials it                                             |
 * | both mappings endpoint-independent      | both dial at once from the port that a STUN connection holds; where nothing crosses, they listen there by turns |
 * | one dependent, the other lets in whom it dialled, from any port | that other dials once, then listens to be dialled |
 * | one dependent and sequential            | its next port is predicted; without UDP, then a birthday       |
 * | one dependent and random                | without UDP a birthday, else nothing (`ONE_UNPREDICTABLE`)     |
 * | both dependent, both sequential         | both are predicted                                             |
 * | both dependent otherwise                | nothing (`UNPREDICTABLE`)                                      |
 */
export function planTcp(a: TransportProfile, b: TransportProfile, udpBlocked: boolean): Stage[] | Obstacle {
  const dial = { transport: 'tcp', packets: 20, seconds: 0.2, probability: 0.98 } as const;
  if (acceptsAnybody(b)) return [{ technique: 'direct dial', dialer: 'initiator', ...dial }];
  if (acceptsAnybody(a)) return [{ technique: 'reversed dial', dialer: 'responder', ...dial }];
  const [aDepends, bDepends] = [hasDependentMapping(a), hasDependentMapping(b)];
  if (aDepends && bDepends) {
    return isSequential(a) && isSequential(b) ? [planPrediction('tcp', 'both', a, b)] : UNPREDICTABLE;
  }
  const prediction = planPrediction('tcp', aDepends ? 'initiator' : 'responder', a, b);
  if (aDepends) return planOneDependent(a, b, 'initiator', prediction, udpBlocked);
  if (bDepends) return planOneDependent(b, a, 'responder', prediction, udpBlocked);
  const probability = confidence(a) * confidence(b) * 0.95;
  return [{ technique: 'simultaneous open', transport: 'tcp', packets: 40, seconds: 0.2, probability }];
}

/** `hardRole` is the end whose mapping depends on the destination. */
function planOneDependent(
  hard: TransportProfile,
  other: TransportProfile,
  hardRole: SessionRole,
  prediction: Stage,
  udpBlocked: boolean,
): Stage[] | Obstacle {
  if (other.filtering === 'address-dependent') return [planListening(otherRole(hardRole), 0.95)];
  const search = [
    ...(isSequential(hard) ? [prediction] : []),
    ...(udpBlocked ? [planBirthday('tcp', hardRole, hard, other)] : []),
  ];
  if (search.length > 0) return search;
  // A handful of dials: the filter may turn out to be an open one.
  return other.filtering === 'unknown' ? [planListening(otherRole(hardRole), 0.3)] : ONE_UNPREDICTABLE;
}

function planListening(listener: SessionRole, probability: number): Stage {
  return {
    technique: 'connect then listen',
    transport: 'tcp',
    listener,
    packets: 40,
    seconds: 0.2,
    probability,
  };
}
