import type { TransportProfile } from '../nat/behavior.ts';
import type { SessionRole } from '../session/role.ts';
import type { Transport } from './candidate.ts';
import type { Stage } from './stage.ts';
import { PORTS } from './port-order.ts';
import { BIRTHDAY, BIRTHDAY_OF_DEPENDENT, POOL_BIRTHDAY, type BirthdaySize } from './schedule.ts';

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
  { allocation, publicAddresses }: TransportProfile,
  other: TransportProfile,
): Stage {
  const addresses = Math.max(1, publicAddresses.length);
  const size = sizeOf(transport, addresses, other);
  const { seconds, random, otherwise } = COSTS[transport];
  const probability = hitRate(size, addresses) * (allocation.kind === 'random' ? random : otherwise);
  return { technique: 'birthday', transport, many, ...size, packets: size.ports, seconds, probability };
}

function sizeOf(transport: Transport, addresses: number, other: TransportProfile): BirthdaySize {
  if (transport === 'tcp') return BIRTHDAY; // more would fill NAT tables for minutes
  if (other.mapping === 'address-and-port-dependent') return BIRTHDAY_OF_DEPENDENT;
  return addresses > 1 ? POOL_BIRTHDAY : BIRTHDAY;
}

/**
 * How often at least one port of those tried is one of those open, where a NAT takes any port of any of its addresses.
 * It doesn't depend on how many of the addresses are tried: with fewer, each try meets more, of a smaller share.
 */
function hitRate({ sockets, ports }: BirthdaySize, addresses: number): number {
  return 1 - Math.exp((-sockets * ports) / (addresses * PORTS));
}
