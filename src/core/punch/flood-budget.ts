import type { Instant } from '../machine.ts';
import type { Transport } from './candidate.ts';

/** Whoever it is for, the same address is flooded at most once in this time. */
const PER_ADDRESS_MS = 60_000;

/** TCP leaves mappings behind for minutes and looks like a port scan: one flood for the same peer in this time. */
const TCP_PER_PEER_MS = 3_600_000;

export interface Flood {
  readonly transport: Transport;
  readonly address: string;
  /** For whom: anything that names the peer. */
  readonly peer: string;
}

/**
 * What protects NAT tables and third parties from many probes: in one process one flood at a time, to one address at
 * most one a minute, for one peer at most one by TCP an hour, each bounded by its stage (`BIRTHDAY_PROBES`). Shared by
 * all sessions of a process.
 */
export class FloodBudget {
  #owner: object | undefined;
  /** By address: when its last flood began. */
  #addresses = new Map<string, Instant>();
  /** By peer: when its last flood by TCP began. */
  #tcpPeers = new Map<string, Instant>();

  /** `undefined` when granted (end with `release`), else why not now. */
  claim(owner: object, { transport, address, peer }: Flood, now: Instant): string | undefined {
    if (this.#owner !== undefined && this.#owner !== owner) return 'another session is flooding';
    forgetBefore(this.#addresses, now - PER_ADDRESS_MS);
    forgetBefore(this.#tcpPeers, now - TCP_PER_PEER_MS);
    if (this.#addresses.has(address)) return 'the last flood to this address was less than a minute ago';
    if (transport === 'tcp') {
      if (this.#tcpPeers.has(peer)) return 'the last TCP birthday with this peer was less than an hour ago';
      this.#tcpPeers.set(peer, now);
    }
    this.#owner = owner;
    this.#addresses.set(address, now);
    return undefined;
  }

  release(owner: object): void {
    if (this.#owner === owner) this.#owner = undefined;
  }
}

function forgetBefore(floods: Map<string, Instant>, end: Instant): void {
  for (const [key, at] of floods) if (at <= end) floods.delete(key);
}
