import { UNMEASURED, type NatProfile, type TransportProfile } from '../src/core/nat/behavior.ts';
import { plan } from '../src/core/punch/plan.ts';
import type { Stage } from '../src/core/punch/stage.ts';
import type { Transport } from '../src/core/punch/candidate.ts';

/** What to expect with one kind of remote NAT; `null` where that transport won't be direct. */
export interface Prognosis {
  readonly remote: string;
  readonly udp: { readonly technique: string; readonly probability: number } | null;
  readonly tcp: { readonly technique: string; readonly probability: number } | null;
}

const measured = (fields: Partial<TransportProfile>): TransportProfile => ({
  ...UNMEASURED,
  reachable: true,
  provisional: false,
  strays: 'drop',
  ...fields,
});

const behind = (fields: Partial<TransportProfile>): NatProfile => ({
  version: 1,
  udp: measured(fields),
  tcp: measured(fields),
});

const REMOTES: readonly [string, NatProfile][] = [
  ['open, no NAT', behind({ mapping: 'none', filtering: 'none' })],
  ['full cone', behind({ mapping: 'endpoint-independent', filtering: 'endpoint-independent' })],
  ['restricted cone', behind({ mapping: 'endpoint-independent', filtering: 'address-dependent' })],
  [
    'port-restricted cone',
    behind({ mapping: 'endpoint-independent', filtering: 'address-and-port-dependent' }),
  ],
  [
    'symmetric, sequential ports',
    behind({
      mapping: 'address-and-port-dependent',
      filtering: 'address-and-port-dependent',
      allocation: { kind: 'sequential', step: 1 },
    }),
  ],
  [
    'symmetric, random ports',
    behind({
      mapping: 'address-and-port-dependent',
      filtering: 'address-and-port-dependent',
      allocation: { kind: 'random' },
    }),
  ],
  [
    'UDP blocked, port-restricted cone for TCP',
    {
      ...behind({ mapping: 'endpoint-independent', filtering: 'address-and-port-dependent' }),
      udp: measured({ reachable: false }),
    },
  ],
];

const FIREWALL = measured({ mapping: 'none', filtering: 'address-and-port-dependent' });
const OVER_IPV6: [string, NatProfile] = [
  'IPv6, through a firewall',
  { ...behind({ reachable: false }), ipv6: { udp: FIREWALL, tcp: FIREWALL } },
];

/** What this profile leads to with each kind of remote NAT, by the very plan that a session would follow. */
export function prognosisFor(profile: NatProfile): Prognosis[] {
  const kinds = ['udp', 'tcp', 'relay'] as const;
  const remotes = profile.ipv6 ? [...REMOTES, OVER_IPV6] : REMOTES;
  return remotes.map(([remote, theirs]) => {
    const { stages } = plan({ profile, kinds }, { profile: theirs, kinds });
    return { remote, udp: best(stages, 'udp'), tcp: best(stages, 'tcp') };
  });
}

/** Local addresses say nothing about NATs. */
function best(stages: readonly Stage[], transport: Transport): Prognosis['udp'] {
  const ways = stages.filter(
    (stage) => stage.transport === transport && stage.technique !== 'local addresses',
  );
  const way = ways.toSorted((a, b) => b.probability - a.probability)[0];
  return way ? { technique: way.technique, probability: Math.round(100 * way.probability) / 100 } : null;
}
