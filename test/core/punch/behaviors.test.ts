import { expect, it } from 'vitest';
import type { Behavior } from '../../sim/nat-behavior.ts';
import { traverse } from './traversal.ts';

const EI: Behavior = 'endpoint-independent';
const AD: Behavior = 'address-dependent';
const APD: Behavior = 'address-and-port-dependent';

interface Nat {
  readonly mapping: Behavior;
  readonly filtering: Behavior;
}

/** RFC 4787 §4.1 and §5: every mapping with every filtering. */
const NATS: readonly Nat[] = [EI, AD, APD].flatMap((mapping) =>
  [EI, AD, APD].map((filtering) => ({ mapping, filtering })),
);

/** What theory allows by UDP where dependent mappings get random ports: see the table in `plan-udp.ts`. */
function meet(a: Nat, b: Nat): boolean {
  const answersWhereMet = ({ mapping, filtering }: Nat) => mapping === AD && filtering !== APD;
  return (
    [a, b].some(({ mapping }) => mapping === EI) ||
    [a, b].some(answersWhereMet) ||
    [a, b].every(({ filtering }) => filtering === EI)
  );
}

function udpOf(nat: Nat) {
  return { ...nat, allocation: { kind: 'random' } as const };
}

it.each(NATS)('$mapping mapping, $filtering filtering meets by UDP whom it can meet', (a) => {
  for (const b of NATS) {
    for (const seed of [1, 2]) {
      const lans = { a: 'ei/apd', b: 'ei/apd', delayMs: 20, seed, kinds: ['udp', 'relay'] } as const;
      const report = traverse({ ...lans, natA: { udp: udpOf(a) }, natB: { udp: udpOf(b) } });
      const met = [report.a, report.b].every(({ udp }) => udp !== undefined);
      expect({ b, seed, met }).toEqual({ b, seed, met: meet(a, b) });
    }
  }
});
