import type { Instant } from '../machine.ts';
import type { Transport } from './candidate.ts';

/** Whoever they are for, the same address gets no more of floods in this time than … */
const SPAN_MS = 60_000;
/** … so many probes (a prediction's, before each of two floods, come on top and keep it below 2,048), … */
const PROBES = 1_850;
/** … from so many flows. */
const FLOWS = 512;

/** TCP leaves mappings behind for minutes and looks like a port scan: one flood for the same peer in this time. */
const TCP_PER_PEER_MS = 3_600_000;

export interface Flood {
  readonly transport: Transport;
  /** Where it goes, in equal parts: one, or those of a NAT's pool. */
  readonly addresses: readonly string[];
  /** For whom: anything that names the peer. */
  readonly peer: string;
  /** The probes that it is of any use with, and those that it sends at most. */
  readonly least: number;
  readonly most: number;
  /** Flows that it opens. */
  readonly flows: number;
}

/** What one flood has been granted. */
interface Spent {
  readonly at: Instant;
  readonly addresses: readonly string[];
  readonly flows: number;
  /** To all of its addresses together. */
  probes: number;
}

/** Leave to flood, with so many probes, or why not now. */
export type Leave = { readonly probes: number } | { readonly refusal: string };

/**
 * What protects NAT tables and third parties from many probes: in one process one flood at a time, to one address so
 * many probes and flows a minute, for one peer at most one by TCP an hour. A flood that found its port early leaves
 * the rest of the minute's probes to the next. Shared by all sessions of a process.
 */
export class FloodBudget {
  #owner: object | undefined;
  /** Floods of the last minute, oldest first. */
  #floods: Spent[] = [];
  /** By peer: when its last flood by TCP began. */
  #tcpPeers = new Map<string, Instant>();

  /** What is granted is spent until `release` tells better. */
  claim(owner: object, { transport, addresses, peer, least, most, flows }: Flood, now: Instant): Leave {
    if (this.#owner !== undefined && this.#owner !== owner) return { refusal: 'another session is flooding' };
    this.#forget(now);
    const spent = addresses.map((address) => this.#spentOn(address));
    const left = PROBES - Math.max(...spent.map((each) => each.probes));
    const probes = Math.min(most, left * addresses.length);
    if (probes < least || flows + Math.max(...spent.map((each) => each.flows)) > FLOWS)
      return { refusal: 'this address had all the probes that it may get in a minute' };
    if (transport === 'tcp') {
      if (this.#tcpPeers.has(peer))
        return { refusal: 'the last TCP birthday with this peer was less than an hour ago' };
      this.#tcpPeers.set(peer, now);
    }
    this.#owner = owner;
    this.#floods.push({ at: now, addresses, flows, probes });
    return { probes };
  }

  /** The owner's flood is over, after so many probes. */
  release(owner: object, probes: number): void {
    if (this.#owner !== owner) return;
    this.#owner = undefined;
    const granted = this.#floods.at(-1); // nobody else was granted anything since
    if (granted) granted.probes = probes;
  }

  #spentOn(address: string): { probes: number; flows: number } {
    const floods = this.#floods.filter(({ addresses }) => addresses.includes(address));
    return {
      probes: sum(floods.map(({ probes, addresses }) => Math.ceil(probes / addresses.length))),
      flows: sum(floods.map(({ flows }) => flows)),
    };
  }

  #forget(now: Instant): void {
    this.#floods = this.#floods.filter(({ at }) => at > now - SPAN_MS);
    for (const [peer, at] of this.#tcpPeers) if (at <= now - TCP_PER_PEER_MS) this.#tcpPeers.delete(peer);
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
