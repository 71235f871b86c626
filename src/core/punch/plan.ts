import type { Family } from '../address.ts';
import type { SessionRole } from '../session/role.ts';
import type { TransportProfile } from '../nat/behavior.ts';
import type { Transport } from './candidate.ts';
import { BLOCKED, NO_COMMON_FAMILY, NO_HAIRPIN, NOT_ALLOWED, type Obstacle } from './obstacle.ts';
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
 * Hole punching, decided: from what both ends' NATs do (their *profiles*) to what the two ends try (the *stages*).
 *
 * **What a NAT does.** To each socket that sends out through it a NAT gives an outer address and port, the socket's
 * *mapping* (RFC 4787 §4.1), and lets packets in to that mapping only as its *filter* allows (§5): from anybody, from
 * addresses that the socket has sent to, or from exactly the addresses and ports that it has sent to. So a packet that
 * comes uninvited is dropped; the hole in the filter is made by sending out (RFC 5128 §3.3):
 * ```
 *   A ──── A's NAT: a:7000                          B's NAT: b:9000 ──── B
 *   T0     ── to b:9000 ─►│ lets b:9000 in from now on ··········►│ dropped, if it comes too early
 *   dropped, if too early │◄·········· from now on lets a:7000 in │◄─ to a:7000 ──     T0
 *   again  ── to b:9000 ─►│──────────────────────────────────────►│─►            passes
 *   passes              ◄─│◄──────────────────────────────────────│◄─ to a:7000 ──  again
 * ```
 * Both ends send at the same moment, T0, and then again, so each NAT has been opened from inside when the other's
 * packet comes. Before that, each sends one *primer*, whose hop limit lets it through its own NAT and no further: some
 * routers remember a packet that came too early as a flow of their own, and give the late end's socket another port
 * than the one that is aimed at.
 *
 * **Two questions** decide which packets can do that.
 *
 * 1. *Where to aim?* A STUN server has seen each end's mapping. Where the NAT keeps one mapping for all destinations
 *    (endpoint-independent) the peer will see the same, and the other end knows where to send. Where each destination
 *    gets a mapping of its own (it *depends* on that; "symmetric" in older texts), what the server saw is for the server alone,
 *    unless the filter lets everybody in. Where nothing is translated, the address itself is the mapping.
 * 2. *Who gets in?* Whoever the filter lets in once this end has sent: with the strictest filters only the very address
 *    and port that were sent to.
 *
 * **What follows**, from the easiest pair to the hardest:
 *
 * 1. *Neither mapping depends.* Both ends know where to aim, whatever the filters: both send at T0 (*simultaneous
 *    probes*).
 * 2. *One depends, and the other's filter doesn't ask for the port*: it is open to all, or to an address that was sent to,
 *    at whatever port. The end whose mapping depends sends, and the other sees where from and answers there
 *    (*peer-reflexive answer*, RFC 8445 §7.3.1.3).
 * 3. *One depends, and the other's filter is strict.* The other end has to send to the right port before it knows it, so
 *    the port is searched for. Where the NAT counts its ports up, the next follows from the last (*port prediction*, RFC
 *    5128 §3.5). Where it picks at random, one end opens many mappings and the other tries many ports: with k open and n
 *    tried out of 64,512, all miss with probability e^(−k·n / 64,512), which for 256 and 1,650 is one time in 700
 *    (*birthday*).
 * 4. *Both depend.* Each try leaves by a port that the other end can't know either. Nothing is tried unless both NATs
 *    count; or both filters let everybody in; or one mapping depends on the address alone and its filter doesn't ask for
 *    the port: of many that this end holds open, one is met by chance, from whatever port, and the answer leaves by that
 *    very mapping. Where one of the filters then lets everybody in, and the other doesn't ask for the port, it needs no
 *    chance.
 *
 * TCP asks the same two questions and has more ways to fail (RFC 5128 §3.4, RFC 5382). `planUdp` and `planTcp` answer
 * them case by case, each with its table.
 *
 * **What goes around the NATs**, and is tried beside that: addresses of one local network; IPv6, where mostly nothing
 * is translated and only filters are left; and a port that a router leads to one end on request (PCP, UPnP), which
 * needs no search at all.
 *
 * **What stops it**: a network that lets the transport out nowhere; and one NAT in front of both ends that has no
 * *hairpin*: it doesn't lead back inside what one inner host sends to another's mapping (RFC 4787 §6).
 *
 * Pure, and the same at both ends, so nothing has to be agreed on: `a` is the session's initiator, `b` its responder.
 * What isn't measured yet counts as endpoint-independent with little confidence: trying costs a few packets.
 *
 * Sources: RFC 4787 and 5382 (what NATs should do), RFC 5128 (what peers do about it), RFC 8445 (ICE); Ford, Srisuresh,
 * Kegel, "Peer-to-Peer Communication Across Network Address Translators" (USENIX 2005).
 */
export function plan(a: PeerSituation, b: PeerSituation): Plan {
  const stages: Stage[] = [];
  const unreachable: Partial<Record<Transport, Obstacle>> = {};
  for (const transport of ['udp', 'tcp'] as const) {
    if (isForbidden(transport, a, b)) {
      unreachable[transport] = NOT_ALLOWED;
      continue;
    }
    stages.push(withinOneNetwork(transport, a, b));
    const across = acrossNats(transport, a, b);
    const over6 = overIPv6(transport, a, b);
    if (Array.isArray(across)) stages.push(...across);
    // Over IPv6 both let it out: where that fails, it is not for a network that doesn't.
    else if (across !== BLOCKED[transport] || over6.length === 0) unreachable[transport] = across;
    stages.push(...over6);
  }
  return { stages, unreachable };
}

function isForbidden(transport: Transport, a: PeerSituation, b: PeerSituation): boolean {
  return [a, b].some(({ kinds }) => !kinds.includes(transport));
}

/** Host addresses mean something to the other end where both are in one network, which one public address hints at. */
function withinOneNetwork(transport: Transport, a: PeerSituation, b: PeerSituation): Stage {
  const probability = sharesPublicAddress(a.profile[transport], b.profile[transport]) ? 0.7 : 0.05;
  return { technique: 'local addresses', transport, packets: 200, seconds: 0.05, probability };
}

/**
 * Over IPv4, through whatever translates there. Three things stand above both questions: a network that lets the
 * transport out nowhere, one NAT in front of both that has no hairpin, and a port that a router leads to one of them.
 */
function acrossNats(transport: Transport, a: PeerSituation, b: PeerSituation): Stage[] | Obstacle {
  if (isBlocked(transport, a, b)) {
    return haveCommonFamily(transport, a, b) ? BLOCKED[transport] : NO_COMMON_FAMILY;
  }
  const [x, y] = [a.profile[transport], b.profile[transport]];
  const punched = transport === 'udp' ? planUdp(x, y) : planTcp(x, y, isBlocked('udp', a, b));
  if (sharesPublicAddress(x, y) && lacksHairpin(x, y)) return planDoubtful(punched);
  const towards = mappedEnd(x, y);
  return towards === undefined ? punched : planMappedPort(transport, towards, punched);
}

function isBlocked(transport: Transport, a: PeerSituation, b: PeerSituation): boolean {
  return [a, b].some(({ profile }) => profile[transport].reachable === false);
}

/** Also where one of them gets out over neither: then it is that which stands in the way. */
function haveCommonFamily(transport: Transport, a: PeerSituation, b: PeerSituation): boolean {
  const [x, y] = [familiesOut(transport, a), familiesOut(transport, b)];
  return x.length === 0 || y.length === 0 || x.some((family) => y.includes(family));
}

function familiesOut(transport: Transport, { profile }: PeerSituation): Family[] {
  const over4 = profile[transport].reachable !== false;
  const over6 = profile.ipv6?.[transport].reachable === true;
  return [...(over4 ? [4 as const] : []), ...(over6 ? [6 as const] : [])];
}

function lacksHairpin(a: TransportProfile, b: TransportProfile): boolean {
  return a.hairpin === false || b.hairpin === false;
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

/** Mostly nothing is translated there, but firewalls let in only what was asked for; what is translated isn't searched. */
function overIPv6(transport: Transport, a: PeerSituation, b: PeerSituation): readonly Stage[] {
  const [x, y] = [a.profile.ipv6?.[transport], b.profile.ipv6?.[transport]];
  if (x?.reachable !== true || y?.reachable !== true) return [];
  const planned = transport === 'udp' ? planUdp(x, y) : planTcp(x, y, false);
  if (!Array.isArray(planned)) return [];
  return planned.filter(isCheap).map((stage): Stage => ({ ...stage, ipv6: true }));
}
