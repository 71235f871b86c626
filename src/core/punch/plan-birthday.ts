import type { TransportProfile } from '../nat/behavior.ts';
import type { SessionRole } from '../session/keys.ts';
import type { Transport } from './candidate.ts';
import type { Stage } from './plan.ts';
import { BIRTHDAY_PROBES } from './schedule.ts';

/** What a birthday takes where it works; over TCP each probe is a connection that both NATs have to carry. */
const COSTS = {
  udp: { seconds: 0.5, random: 0.98, otherwise: 0.9 },
  tcp: { seconds: 0.6, random: 0.95, otherwise: 0.8 },
};

/**
 * For the port of a NAT that can't be predicted: `many`, the end behind it, opens many at once, and the other tries
 * ports at random (the birthday paradox: `birthday.ts`). It assumes ports spread evenly; where that isn't known, less
 * is to be expected.
 */
export function planBirthday(
  transport: Transport,
  many: SessionRole,
  { allocation }: TransportProfile,
): Stage {
  const { seconds, random, otherwise } = COSTS[transport];
  const probability = allocation.kind === 'random' ? random : otherwise;
  return { technique: 'birthday', transport, many, packets: BIRTHDAY_PROBES, seconds, probability };
}
