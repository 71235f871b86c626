import type { SessionRole } from '../session/keys.ts';
import type { FamilyProfile, TransportProfile } from '../nat/behavior.ts';
import type { Transport } from './candidate.ts';
import { BLOCKED, NO_HAIRPIN, NOT_ALLOWED, type Obstacle } from './obstacle.ts';
import { planTcp } from './plan-tcp.ts';
import { planUdp } from './plan-udp.ts';
import { sharesPublicAddress, type PeerSituation } from './situation.ts';
import type { Stage } from './stage.ts';

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
 * mappings there is nowhere to aim, unless both NATs count. `planUdp` and `planTcp` have it case by case.
 *
 * None of this matters where a router leads a port to one end on request, and that was tried from outside: then the
 * other end sends or dials there.
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
    if (!forbidden) stages.push(...overIPv6(transport, a.profile.ipv6, b.profile.ipv6));
  }
  return { stages, unreachable };
}

function planTransport(transport: Transport, a: PeerSituation, b: PeerSituation): Stage[] | Obstacle {
  const [x, y] = [a.profile[transport], b.profile[transport]];
  if (isBlocked(transport, a, b)) return BLOCKED[transport];
  const punched = transport === 'udp' ? planUdp(x, y) : planTcp(x, y, isBlocked('udp', a, b));
  if (sharesPublicAddress(x, y) && (x.hairpin === false || y.hairpin === false)) return planDoubtful(punched);
  const towards = mappedEnd(x, y);
  return towards === undefined ? punched : planMappedPort(transport, towards, punched);
}

/**
 * One host alone sees no hairpin where there is none, and where its NAT leaves the internal source in place, which two
 * hosts can use: what costs little is tried.
 */
function planDoubtful(punched: readonly Stage[] | Obstacle): Stage[] | Obstacle {
  const cheap = Array.isArray(punched) ? (punched as readonly Stage[]).filter(isCheap) : [];
  if (cheap.length === 0) return NO_HAIRPIN;
  return cheap.map((stage) => ({ ...stage, probability: HAIRPIN_AFTER_ALL }));
}

const HAIRPIN_AFTER_ALL = 0.2;

function mappedEnd(a: TransportProfile, b: TransportProfile): SessionRole | 'both' | undefined {
  if (a.portMapped === true) return b.portMapped === true ? 'both' : 'initiator';
  return b.portMapped === true ? 'responder' : undefined;
}

/** Whoever is reachable at a mapped port needs no search; what costs little is tried beside it. */
function planMappedPort(
  transport: Transport,
  towards: SessionRole | 'both',
  punched: readonly Stage[] | Obstacle,
): Stage[] {
  const stage = { technique: 'mapped port', transport, towards } as const;
  const beside = Array.isArray(punched) ? (punched as readonly Stage[]).filter(isCheap) : [];
  return [{ ...stage, packets: 32, seconds: 0.2, probability: 0.99 }, ...beside];
}

/** Without a search for ports. */
function isCheap({ technique }: Stage): boolean {
  return technique !== 'port prediction' && technique !== 'birthday';
}

function isBlocked(transport: Transport, a: PeerSituation, b: PeerSituation): boolean {
  return [a, b].some(({ profile }) => profile[transport].reachable === false);
}

/** Mostly nothing is translated there, but firewalls let in only what was asked for; what is translated isn't searched. */
function overIPv6(
  transport: Transport,
  a: FamilyProfile | undefined,
  b: FamilyProfile | undefined,
): readonly Stage[] {
  const [x, y] = [a?.[transport], b?.[transport]];
  if (x?.reachable !== true || y?.reachable !== true) return [];
  const planned = transport === 'udp' ? planUdp(x, y) : planTcp(x, y, false);
  if (!Array.isArray(planned)) return [];
  return planned.filter(isCheap).map((stage): Stage => ({ ...stage, ipv6: true }));
}

function localAddresses(transport: Transport, a: TransportProfile, b: TransportProfile): Stage {
  const probability = sharesPublicAddress(a, b) ? 0.7 : 0.05;
  return { technique: 'local addresses', transport, packets: 200, seconds: 0.05, probability };
}
