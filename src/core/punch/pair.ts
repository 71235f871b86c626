import { scopeOf } from '../address.ts';
import { formatEndpoint, type Endpoint } from '../endpoint.ts';
import type { CandidateType } from './candidate.ts';
import { ProbePacing } from './probe-pacing.ts';
import { ATTESTED_PROBES, UNATTESTED_PROBES } from './schedule.ts';
import { familyPreference, isLocal } from './target.ts';

/** A local socket and a remote address over which the two peers may reach each other (RFC 8445 §6.1.2). */
export class CandidatePair {
  /** Our socket: 0 is the one that all sessions share, the others belong to one stage of one session. */
  readonly socket: number;
  readonly remote: Endpoint;
  /** How we know of the address; a peer-reflexive one may turn out to be a candidate that arrives later. */
  type: CandidateType;
  /** Somebody other than the peer vouched for the address, so it may be probed at full rate. */
  attested: boolean;
  /** Requests sent so far. */
  sent = 0;
  readonly pacing = new ProbePacing();
  /** An authenticated request came over this pair. */
  heard = false;
  /** It works both ways: an authenticated answer to our own request came over it, or the peer says that it has one. */
  valid = false;
  /** Of the first answered request, milliseconds. */
  roundTripMs: number | undefined;

  constructor(socket: number, remote: Endpoint, type: CandidateType, attested: boolean) {
    this.socket = socket;
    this.remote = remote;
    this.type = type;
    this.attested = attested;
  }

  /** False once an address that nobody vouched for has had all it may get before it answers. */
  get mayProbe(): boolean {
    return this.valid || this.sent < (this.attested ? ATTESTED_PROBES : UNATTESTED_PROBES);
  }

  /** The peer is on this very host: no other pair can be better, so none is worth waiting for. */
  get isNearest(): boolean {
    return scopeOf(this.remote.address) === 'loopback';
  }

  /** Reached by an address that doesn't leave the site. */
  get local(): boolean {
    return isLocal(this.remote) && this.type !== 'srflx';
  }
}

export function pairKey(socket: number, remote: Endpoint): string {
  return `${socket} ${formatEndpoint(remote)}`;
}

/** Of two pairs that both work, the better one first: host, then peer-reflexive, then server-reflexive; IPv6 first. */
export function comparePairs(a: CandidatePair, b: CandidatePair): number {
  return (
    TYPE_PREFERENCE[b.type] - TYPE_PREFERENCE[a.type] ||
    familyPreference(b.remote) - familyPreference(a.remote)
  );
}

/** RFC 8445 §5.1.2.1; an explicit mapping is as good as a server-reflexive one. */
const TYPE_PREFERENCE: Record<CandidateType, number> = { host: 126, prflx: 110, mapped: 101, srflx: 100 };
