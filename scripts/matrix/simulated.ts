import { traverse, type EndReport, type TraversalReport } from '../../test/core/punch/traversal.ts';
import type { NatName as KernelNatName } from '../../test/netns/lab.ts';
import { dependsOnDestination, natOf } from '../../test/netns/nats.ts';
import { ofSeed } from '../../test/sim/conditions.ts';
import { RANDOM, sequential, type NatOverrides } from '../../test/sim/nat-behavior.ts';
import { NAT_NAMES, type NatName } from '../../test/sim/presets.ts';
import type { PathChoice } from '../../src/core/punch/situation.ts';
import { failedRun, type Run } from './cell.ts';
import type { Pair } from './pairs.ts';

export interface SimulatedConditions {
  readonly runs: number;
  /** One way of each access link. */
  readonly delayMs: number;
  readonly lossPercent?: number | undefined;
  /** Most that the called end begins later. */
  readonly skewMs?: number | undefined;
}

/** The laboratory's NATs in the terms of the simulation. */
const BASES: Readonly<Record<string, readonly [NatName, NatOverrides]>> = {
  'ei/apd-random': ['ei/apd', { udp: { allocation: RANDOM }, tcp: { allocation: RANDOM } }],
};

const TRAITS: Readonly<Record<string, NatOverrides>> = {
  rst: { udp: { strays: 'icmp-reject' }, tcp: { strays: 'rst' } },
  accept: { udp: { strays: 'accept' }, tcp: { strays: 'accept' } },
  'crossing-drop': { tcp: { crossingSyns: false } },
  'crossing-rst': { tcp: { crossingSyns: false, strays: 'rst' } },
  short: { udp: { lifetimeMs: 20_000 } },
  pool: {},
  busy: { udp: { allocation: sequential(1, 20) }, tcp: { allocation: sequential(1, 20) } },
};

export function canBeSimulated({ a, b }: Pair): boolean {
  return [a, b].every((name) => inSimulation(name) !== undefined);
}

/** Two agents in virtual time, again and again: each run has its seed, its skew, and its clocks, up to a day apart. */
export function meetInVirtualTime(
  { a, b, paths, best }: Pair,
  { runs, delayMs, lossPercent, skewMs = 0 }: SimulatedConditions,
  onRun: (run: Run, number: number) => void,
): Run[] {
  const [natA, natB] = [inSimulation(a)!, inSimulation(b)!];
  const kinds = paths && { kinds: [...(paths.split(',') as PathChoice[]), 'relay' as const] };
  return Array.from({ length: runs }, (_, seed) => {
    const report = traverse({
      a: natA.name,
      b: natB.name,
      natA: natA.overrides,
      natB: natB.overrides,
      ...kinds,
      ...ofSeed(seed, skewMs),
      delayMs,
      lossPercent: lossPercent ?? 0,
    });
    const run = runOf(report, best);
    onRun(run, seed + 1);
    return run;
  });
}

function inSimulation(name: KernelNatName): { name: NatName; overrides: NatOverrides } | undefined {
  const [base = '', ...traits] = name.split('+');
  const known = BASES[base] ?? ([base, {}] as const);
  const all = [known[1], ...traits.map((trait) => TRAITS[trait])];
  // As in the laboratory, a host keeps its address where its mappings don't depend on the destination.
  const pooling = traits.includes('pool') && dependsOnDestination(natOf(name)) ? 'arbitrary' : 'paired';
  if (!(NAT_NAMES as readonly string[]).includes(known[0]) || all.includes(undefined)) return undefined;
  const overrides = (all as NatOverrides[]).reduce((sum, next) => ({
    udp: { ...sum.udp, ...next.udp },
    tcp: { ...sum.tcp, ...next.tcp },
  }));
  return { name: known[0] as NatName, overrides: { ...overrides, pooling } };
}

function runOf({ a, b, lans }: TraversalReport, best: Pair['best']): Run {
  const ways = (['udp', 'tcp'] as const).flatMap((transport) => {
    const [here, there] = [a[transport], b[transport]];
    if (!here || !there) return [];
    return [{ technique: here.technique, confirmedMs: Math.round(Math.max(here.at, there.at)) }];
  });
  const first = ways.toSorted((x, y) => x.confirmedMs - y.confirmedMs)[0];
  const packets = Math.max(a.sent, b.sent);
  if (first) return { shortfall: undefined, ...first, packets, reason: undefined };
  const reason = reasonOf(a);
  if (best !== 'relay') return { ...failedRun(reason), packets };
  const { udp, tcp } = lans.direct();
  const shortfall =
    udp + tcp > FEW_STRAYS ? `${udp} datagrams and ${tcp} segments passed, and no path` : undefined;
  return { shortfall, technique: undefined, confirmedMs: undefined, packets, reason };
}

const FEW_STRAYS = 6;

function reasonOf({ failures }: EndReport): string {
  return failures.map(({ transport, reason }) => `${transport}: ${reason}`).join('; ') || 'nothing was said';
}
