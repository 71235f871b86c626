import { NOTHING_SAID, PROOF_BYTES, type Meeting } from './scenario.ts';

/** The best kind of path that a pair can have; `direct` where UDP and TCP are both as good. */
export type BestKind = 'direct' | 'tcp' | 'relay';

/** What a meeting falls short of, in words; `undefined` where it is as good as the pair of NATs allows. */
export function shortfallOf(meeting: Meeting, best: BestKind): string | undefined {
  const { a, b, direct, reason, counted, steady } = meeting;
  const [sent, received] = [counted.sent.udp + counted.sent.tcp, counted.received.udp + counted.received.tcp];
  if (best === 'relay') {
    if (![a, b].every((kind) => kind.startsWith('relay'))) return `A sends by ${a}, B by ${b}`;
    if (reason === undefined || reason === NOTHING_SAID) return 'relayed, and nobody says why';
    if (Math.max(sent, received) >= PROOF_BYTES) return 'the NAT saw the data pass directly';
    return undefined;
  }
  if (!direct) return `A sends by ${a}, B by ${b}: ${reason}`;
  if (best === 'tcp' && (a !== 'tcp' || b !== 'tcp')) return `A sends by ${a}, B by ${b}`;
  // An end that moved meanwhile sent some of it on either path; what went by the relay is on none of them.
  const onEither = !steady && best === 'direct';
  const there = onEither ? sent : counted.sent[a as 'udp' | 'tcp'];
  const back = onEither ? received : counted.received[b as 'udp' | 'tcp'];
  if (there < PROOF_BYTES || back < PROOF_BYTES)
    return `A says ${a} and B ${b}, the NAT counted ${there} and ${back} bytes`;
  return undefined;
}

/** From this loss per NAT and direction on, a path may be given up for the relay before the proof by the counters is done. */
export const HEAVY_LOSS_PERCENT = 20;
const DIRECT_WITHIN_MS = 15_000;

/** Under heavy loss: by the word of both ends, who send directly only where both have proven the session's keys on that path. */
export function shortfallUnderLoss({ bothDirectMs, a, b, reason }: Meeting): string | undefined {
  if (bothDirectMs !== undefined && bothDirectMs <= DIRECT_WITHIN_MS) return undefined;
  const when = bothDirectMs === undefined ? '' : `, direct after ${bothDirectMs} ms`;
  return `not direct within ${DIRECT_WITHIN_MS} ms${when}; A sends by ${a}, B by ${b}: ${reason}`;
}
