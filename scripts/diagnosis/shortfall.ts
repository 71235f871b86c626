import type { TransportProfile } from '../../src/core/nat/behavior.ts';
import type { Transport } from '../../src/core/punch/candidate.ts';
import type { Discovered } from '../../test/netns/discovery/discover.ts';
import { truthOf, type TransportTruth } from '../../test/netns/discovery/truth.ts';
import type { NatName } from '../../test/netns/nats.ts';

/** What one diagnosis got wrong, and what it could not tell although it can be told; in words. */
export interface Judgement {
  readonly wrong: readonly string[];
  readonly unknown: readonly string[];
}

export function judge(name: NatName, discovered: Discovered): Judgement {
  const all = (['udp', 'tcp'] as const).flatMap((transport) =>
    deviations(transport, discovered[transport], truthOf(name, transport)),
  );
  return {
    wrong: all.flatMap(({ words, isUnknown }) => (isUnknown ? [] : [words])),
    unknown: all.flatMap(({ words, isUnknown }) => (isUnknown ? [words] : [])),
  };
}

/** A verdict where nothing can be found out is as wrong as another one. */
function deviations(transport: Transport, found: TransportProfile, truth: TransportTruth) {
  const said = { ...found, allocation: found.allocation.kind };
  return (Object.keys(truth) as (keyof TransportTruth)[])
    .filter((what) => said[what] !== truth[what])
    .map((what) => ({
      words: `${transport} ${what}: ${said[what] ?? 'unknown'} for ${truth[what] ?? 'unknown'}`,
      isUnknown: said[what] === undefined || said[what] === 'unknown',
    }));
}
