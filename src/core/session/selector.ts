import type { PathId, PathKind } from './events.ts';

/** What the choice depends on. */
export interface SelectablePath {
  readonly id: PathId;
  readonly kind: PathKind;
  readonly direct: boolean;
  readonly lan: boolean;
  readonly ipv6: boolean;
  /** The least round trip seen; `undefined` until one was measured. */
  readonly rttMs: number | undefined;
}

export interface Choice {
  readonly id: PathId;
  /**
   * `fallback`: the current path is not among the usable ones, or there was none; `upgrade`: from relay to direct;
   * `lateral`: between paths of one class.
   */
  readonly move: 'stay' | 'fallback' | 'upgrade' | 'lateral';
  readonly reason: string;
}

/**
 * Which of the usable paths to send on: direct before relay, then the lower biased round trip. The current path stays
 * unless another is of a better class or `HYSTERESIS_MS` faster. `undefined` where there is no path.
 */
export function selectPath(
  paths: readonly SelectablePath[],
  currentId: PathId | undefined,
  bulk: boolean,
): Choice | undefined {
  const [best, ...others] = paths.toSorted((a, b) => compare(a, b, bulk));
  if (!best) return undefined;
  const current = paths.find((path) => path.id === currentId);
  if (!current) {
    const reason = others.length === 0 ? 'the only usable path' : describe(best, others[0]!, bulk);
    return { id: best.id, move: 'fallback', reason };
  }
  if (best.direct && !current.direct) return { id: best.id, move: 'upgrade', reason: 'direct before relay' };
  const gain = biasedRtt(current, bulk) - biasedRtt(best, bulk);
  if (best.id === current.id || best.rttMs === undefined || gain <= HYSTERESIS_MS) {
    return { id: current.id, move: 'stay', reason: 'no other is better' };
  }
  return { id: best.id, move: 'lateral', reason: describe(best, current, bulk) };
}

function compare(a: SelectablePath, b: SelectablePath, bulk: boolean): number {
  return Number(b.direct) - Number(a.direct) || biasedRtt(a, bulk) - biasedRtt(b, bulk) || a.id - b.id;
}

/** Milliseconds; lower is better. Kernel TCP carries bulk at a fraction of the processor time that UDP takes. */
function biasedRtt(path: SelectablePath, bulk: boolean): number {
  let rtt = path.rttMs ?? UNMEASURED_MS;
  if (path.ipv6) rtt -= IPV6_BONUS_MS;
  if (path.lan) rtt -= LAN_BONUS_MS;
  if (bulk && path.kind === 'tcp') rtt -= BULK_TCP_BONUS_MS;
  return rtt + RELAY_ORDER_MS[path.kind];
}

function describe(chosen: SelectablePath, other: SelectablePath, bulk: boolean): string {
  if (chosen.direct !== other.direct) return 'direct before relay';
  if (bulk && chosen.kind === 'tcp' && other.kind !== 'tcp') return 'kernel TCP carries bulk';
  if (chosen.rttMs === undefined) return 'the first of its class';
  if (other.rttMs === undefined) return 'its round trip is known';
  return `round trip ${chosen.rttMs.toFixed(1)} ms, the other's ${other.rttMs.toFixed(1)} ms`;
}

const HYSTERESIS_MS = 5;
const IPV6_BONUS_MS = 3;
const LAN_BONUS_MS = 10;
const BULK_TCP_BONUS_MS = 50;
const UNMEASURED_MS = 10_000;
const RELAY_ORDER_MS: Record<PathKind, number> = {
  udp: 0,
  tcp: 0,
  'relay-h1': 0,
  'relay-h2': 1,
  'relay-ws': 2,
};
