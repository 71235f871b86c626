import * as v from 'valibot';
import { parseEndpoint } from '../src/core/endpoint.ts';
import { isPeerId, type PeerId } from '../src/core/identity.ts';
import type { NatProfile } from '../src/core/nat/behavior.ts';
import { readPrivateFile, writePrivateFile } from '../src/net/private-file.ts';
import type { Network } from './network.ts';
import type { PathReport, Session } from './session.ts';

const entrySchema = v.object({
  peer: v.custom<PeerId>((value) => typeof value === 'string' && isPeerId(value)),
  /** Public addresses: of our own network, and the one at which the peer was met. */
  here: v.string(),
  there: v.string(),
  transport: v.picklist(['udp', 'tcp']),
  technique: v.string(),
  /** Milliseconds since 1970. */
  at: v.number(),
});
const schema = v.array(entrySchema);

/** What a direct path with a peer was made by, between two networks. */
export type Success = v.InferOutput<typeof entrySchema>;

/** Who meets whom from where; the two networks as they are now. */
export interface Encounter {
  readonly peer: PeerId;
  readonly here: NatProfile;
  readonly there: NatProfile;
}

/** When the session ends, what its last direct path across networks was made by is remembered. */
export function rememberSuccess(session: Session, network: Network, history: History): void {
  let success: Omit<Success, 'at'> | undefined;
  session.on('path', (path) => (success = successOf(session.peer, path, network) ?? success));
  session.on('closed', () => success && history.remember(success));
}

/** `undefined` for a path by the relay or within one site, which says nothing of NATs. */
function successOf(
  peer: PeerId,
  { kind, state, technique, remote }: PathReport,
  network: Network,
): Omit<Success, 'at'> | undefined {
  const [here] = addressesOf(network.profile);
  if (state !== 'active' || (kind !== 'udp' && kind !== 'tcp')) return undefined;
  if (!here || !remote || !technique || technique === 'local addresses') return undefined;
  return { peer, here, there: parseEndpoint(remote).address, transport: kind, technique };
}

/** Of different peers or networks. */
const MOST = 200;
/** Networks change: what worked longer ago says little. */
const KEPT_MS = 14 * 24 * 3_600_000;
/** What was written less long ago isn't written again. */
const FRESH_MS = 3_600_000;

/**
 * What worked last with each peer between two networks, for `peer plan`. The file only helps: where it can't be read,
 * nothing is known, and where it can't be written, nothing is remembered.
 */
export class History {
  readonly #path: string;
  readonly #now: () => number;

  /** @param now milliseconds since 1970 */
  constructor(path: string, now: () => number = Date.now) {
    this.#path = path;
    this.#now = now;
  }

  remember(success: Omit<Success, 'at'>): void {
    const known = this.#read();
    if (known.some((entry) => isSamePlace(entry, success) && this.#isFresh(entry, success))) return;
    const others = known.filter((other) => !isSamePlace(other, success));
    this.#write([{ ...success, at: this.#now() }, ...others].slice(0, MOST));
  }

  /** What worked with `from` has worked with `to`, which is the same peer. */
  move(from: PeerId, to: PeerId): void {
    const known = this.#read();
    if (!known.some(({ peer }) => peer === from)) return;
    this.#write(known.map((entry) => (entry.peer === from ? { ...entry, peer: to } : entry)));
  }

  last({ peer, here, there }: Encounter): Success | undefined {
    const [ours, theirs] = [addressesOf(here), addressesOf(there)];
    return this.newestFirst().find(
      (entry) => entry.peer === peer && ours.has(entry.here) && theirs.has(entry.there),
    );
  }

  newestFirst(): Success[] {
    return this.#read().toSorted((a, b) => b.at - a.at);
  }

  /** It says the same already: to write a file to the disk takes longer than all else that ends a session. */
  #isFresh({ at, transport, technique }: Success, success: Omit<Success, 'at'>): boolean {
    const isSame = transport === success.transport && technique === success.technique;
    return isSame && this.#now() - at < FRESH_MS;
  }

  #write(entries: readonly Success[]): void {
    try {
      writePrivateFile(this.#path, `${JSON.stringify(entries)}\n`);
    } catch {
      // a full disk, say: the session that ends here was none the worse
    }
  }

  #read(): Success[] {
    try {
      const entries = v.parse(schema, JSON.parse(readPrivateFile(this.#path) ?? '[]'));
      const now = this.#now();
      return entries.filter(({ at }) => at <= now && now - at < KEPT_MS);
    } catch {
      return [];
    }
  }
}

function isSamePlace(a: Omit<Success, 'at'>, b: Omit<Success, 'at'>): boolean {
  return a.peer === b.peer && a.here === b.here && a.there === b.there;
}

function addressesOf({ udp, tcp, ipv6 }: NatProfile): Set<string> {
  return new Set([udp, tcp, ipv6?.udp, ipv6?.tcp].flatMap((profile) => profile?.publicAddresses ?? []));
}
