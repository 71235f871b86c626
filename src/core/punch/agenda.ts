import type { Family } from '../address.ts';
import { UNMEASURED, type NatProfile } from '../nat/behavior.ts';
import type { SessionRole } from '../session/role.ts';
import type { Transport } from './candidate.ts';
import { plan, type Plan } from './plan.ts';
import type { Stage } from './stage.ts';
import { LOCAL_ROUND_MS, ROUND_MS } from './schedule.ts';
import { isSequential, sharesPublicAddress, type PathChoice } from './situation.ts';
import type { FirstSyn, HeldPortUse } from './held-port.ts';

const NOTHING_MEASURED: NatProfile = { version: 0, udp: UNMEASURED, tcp: UNMEASURED };

/** The plan as one end reads it: both ends compute the same one, from what they know of each other by now. */
export class Agenda {
  readonly #role: SessionRole;
  readonly #kinds: readonly PathChoice[];
  #theirKinds: readonly PathChoice[];
  #here = NOTHING_MEASURED;
  #there = NOTHING_MEASURED;
  #plan: Plan = { stages: [], unreachable: {} };

  /** @param kinds of path that this end allows; so does the other, until it is heard */
  constructor(role: SessionRole, kinds: readonly PathChoice[]) {
    this.#role = role;
    this.#kinds = kinds;
    this.#theirKinds = kinds;
  }

  get plan(): Plan {
    return this.#plan;
  }

  knowHere(profile: NatProfile | undefined): void {
    this.#here = profile ?? this.#here;
    this.#replan();
  }

  knowThere(profile: NatProfile | undefined, kinds: readonly PathChoice[] | undefined): void {
    this.#there = profile ?? this.#there;
    this.#theirKinds = kinds ?? this.#theirKinds;
    this.#replan();
  }

  /** Both ends allow this kind of path: then at least local addresses are tried. */
  allows(transport: Transport): boolean {
    return this.#plan.stages.some((stage) => stage.transport === transport);
  }

  /** The stage that uses the mappings of this transport; of either family where none is named. */
  stageOf(transport: Transport, family?: Family): Stage | undefined {
    return this.#stagesOf(transport, family)[0];
  }

  /** How long after T0 this transport searches. */
  roundMs(transport: Transport): number {
    if (this.stageOf(transport)) return ROUND_MS;
    if (!this.allows(transport)) return 0;
    // What is still being measured may yet give this transport a way.
    const isMeasured = [this.#here, this.#there].every(({ udp }) => udp.reachable !== undefined);
    return isMeasured ? LOCAL_ROUND_MS : ROUND_MS;
  }

  /** This end's NAT counts its ports, and the peer will have to be told where it stands, unless that is of no use. */
  tellsPorts(transport: Transport): boolean {
    if (!isSequential(this.#here[transport]) || !this.allows(transport)) return false;
    const planned = this.#stagesOf(transport, 4).some(({ technique }) => technique === 'port prediction');
    return planned || this.#there[transport].reachable === undefined;
  }

  /** Public addresses of the peer's NAT, of which any mapping may take any. */
  poolThere(transport: Transport): readonly string[] {
    return this.#there[transport].publicAddresses;
  }

  get firstSyn(): FirstSyn {
    if (mayBeOpen(this.#here) && mayBeOpen(this.#there)) return 'after the listeners';
    return this.#role === 'initiator' && this.#here.tcp.strays !== 'reset' ? 'after the other' : 'at once';
  }

  heldPortUse(family: Family): HeldPortUse {
    // A mapped port leads to the listener; the held port may do something else beside that.
    const stage = this.#stagesOf('tcp', family).find(({ technique }) => technique !== 'mapped port');
    switch (stage?.technique) {
      case 'direct dial':
      case 'reversed dial':
        return stage.dialer === this.#role ? 'dial' : 'listen';
      case 'connect then listen':
        return stage.listener === this.#role ? 'connect then listen' : 'dial the listener';
      case 'simultaneous open':
        return 'simultaneous open';
      case 'port prediction': // a search dials by itself
      case 'birthday':
      case 'local addresses':
      case 'mapped port':
      case 'simultaneous probes':
      case 'peer-reflexive answer':
      case undefined:
        return 'nothing';
    }
  }

  /** Behind one NAT whose hairpin wasn't measured, failing shows that there is none. */
  lacksHairpin(transport: Transport): boolean {
    const [here, there] = [this.#here[transport], this.#there[transport]];
    return sharesPublicAddress(here, there) && !here.hairpin && !there.hairpin;
  }

  /** What is tried, for people. */
  describe(transport: Transport): string {
    const [over4, over6] = [this.stageOf(transport, 4), this.stageOf(transport, 6)];
    const stage = over4 ?? over6;
    const chance = stage && `works in ${Math.round(100 * stage.probability)} of 100 cases`;
    if (over4) return `${over4.technique}${over6 ? `, and ${over6.technique} over IPv6` : ''}, ${chance}`;
    if (over6) return `${over6.technique} over IPv6, ${chance}`;
    const { reason } = this.#plan.unreachable[transport] ?? { reason: 'nothing is known of the other peer' };
    return this.allows(transport) ? `only local addresses: ${reason}` : reason;
  }

  #stagesOf(transport: Transport, family?: Family): Stage[] {
    return this.#plan.stages.filter(
      (stage) =>
        stage.transport === transport &&
        stage.technique !== 'local addresses' &&
        (family === undefined || (family === 6) === (stage.ipv6 === true)),
    );
  }

  #replan(): void {
    const here = { profile: this.#here, kinds: this.#kinds };
    const there = { profile: this.#there, kinds: this.#theirKinds };
    this.#plan = this.#role === 'initiator' ? plan(here, there) : plan(there, here);
  }
}

/** Nothing is known to stand in the way of a plain dial; nor may much be known yet. */
function mayBeOpen({ tcp }: NatProfile): boolean {
  if (tcp.reachable === undefined) return true;
  return tcp.mapping === 'none' && (tcp.filtering === 'none' || tcp.filtering === 'unknown');
}
