import type { Endpoint } from '../endpoint.ts';
import { earliest, type Instant } from '../machine.ts';
import type { ConnectionId, PunchOutput } from './events.ts';
import { pairKey } from './pair.ts';
import { shotPatienceOf } from './schedule.ts';

interface Shot {
  readonly key: string;
  readonly socket: number;
  readonly to: Endpoint;
  readonly giveUpAt: Instant;
}

/**
 * The dials of a port search. Each is aimed once at a port that may or may not be the peer's, and let go before the
 * kernel repeats its SYN: an unfinished one costs a mapping in both NATs.
 */
export class TcpShots {
  #emit: (output: PunchOutput) => void;
  /** Under way, oldest first: from the held port, and from ports of their own, which wait longer. */
  #pending: Record<'held' | 'own', Map<ConnectionId, Shot>> = { held: new Map(), own: new Map() };
  /** From where to where a dial is under way. */
  #aimed = new Set<string>();
  #fired = 0;
  #roundTripMs = 0;

  constructor(emit: (output: PunchOutput) => void) {
    this.#emit = emit;
  }

  get fired(): number {
    return this.#fired;
  }

  get deadline(): Instant | undefined {
    return earliest(oldest(this.#pending.held)?.giveUpAt, oldest(this.#pending.own)?.giveUpAt);
  }

  start(roundTripMs: number): void {
    this.#roundTripMs = roundTripMs;
  }

  /** @param socket 0 dials from the held port; any other has a local port of its own, the same every time */
  fire(socket: number, to: Endpoint, now: Instant): void {
    const key = pairKey(socket, to);
    if (this.#aimed.has(key)) return;
    const connection = `shot-${++this.#fired}`;
    const giveUpAt = now + shotPatienceOf(this.#roundTripMs, socket === 0);
    this.#aimed.add(key);
    this.#pending[socket === 0 ? 'held' : 'own'].set(connection, { key, socket, to, giveUpAt });
    this.#emit({ type: 'dial', connection, to, from: socket === 0 ? 'held' : `own-${socket}` });
  }

  /** It connected or failed: no longer under way. `undefined` where it is none of these. */
  ended(connection: ConnectionId): Shot | undefined {
    const { held, own } = this.#pending;
    const shot = held.get(connection) ?? own.get(connection);
    if (!shot) return undefined;
    this.#aimed.delete(shot.key);
    held.delete(connection);
    own.delete(connection);
    return shot;
  }

  handleTimeout(now: Instant): void {
    for (const shots of [this.#pending.held, this.#pending.own]) {
      for (const [connection, { giveUpAt }] of shots) {
        if (giveUpAt > now) break; // the others are younger
        this.#cancel(connection);
      }
    }
  }

  end(): void {
    for (const shots of [this.#pending.held, this.#pending.own]) {
      for (const connection of shots.keys()) this.#cancel(connection);
    }
  }

  #cancel(connection: ConnectionId): void {
    this.ended(connection);
    this.#emit({ type: 'cancel-dial', connection });
  }
}

function oldest(shots: ReadonlyMap<ConnectionId, Shot>): Shot | undefined {
  const [first] = shots.values();
  return first;
}
