import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { TransportProfile } from '../../src/core/nat/behavior.ts';
import { coturnsOpinion, hasCoturn, ourOpinion, startCoturn } from './discovery/coturn.ts';
import type { Discovered } from './discovery/discover.ts';
import { Lab, labSupport, type NatName, type SideName } from './lab.ts';

const support = await labSupport();
if (!support.ok) console.log(`skipped, discovery behind real NATs: ${support.reason}`);

const EI = 'endpoint-independent';
const AD = 'address-dependent';
const APD = 'address-and-port-dependent';

/** Mapping, filtering and allocation; for TCP also what becomes of strays. `undefined` where nothing gets out. */
type Truth = [udp: [string, string, string] | undefined, tcp: [string, string, string, string] | undefined];

const easyTcp: Truth[1] = [EI, APD, 'preserving', 'drop'];
const easy: Truth = [[EI, APD, 'preserving'], easyTcp];
const PAIRS: [NatName, Truth, NatName, Truth][] = [
  [
    'open',
    [
      ['none', 'none', 'preserving'],
      ['none', 'none', 'preserving', 'unknown'],
    ],
    'ei/ei',
    [
      [EI, EI, 'preserving'],
      [EI, EI, 'preserving', 'unknown'],
    ],
  ],
  [
    'ei/ad',
    [
      [EI, AD, 'preserving'],
      [EI, AD, 'preserving', 'drop'],
    ],
    'ei/apd',
    easy,
  ],
  [
    'ad/apd',
    [
      [AD, APD, 'random'],
      [AD, APD, 'random', 'drop'],
    ],
    'apd/apd-random',
    [
      [APD, APD, 'random'],
      [APD, APD, 'random', 'drop'],
    ],
  ],
  [
    'apd/apd-sequential',
    [
      [APD, APD, 'sequential'],
      [APD, APD, 'sequential', 'drop'],
    ],
    'udp-blocked',
    [undefined, easyTcp],
  ],
  ['tcp443-only', [undefined, undefined], 'cgnat', easy],
  [
    'cgnat-random',
    [
      [APD, APD, 'random'],
      [APD, APD, 'random', 'drop'],
    ],
    'ei/apd+accept',
    [easy[0], [EI, APD, 'preserving', 'reset']],
  ],
  [
    'ei/apd+rst',
    [easy[0], [EI, APD, 'preserving', 'reset']],
    'ei/ad+rst',
    [
      [EI, AD, 'preserving'],
      [EI, AD, 'preserving', 'reset'],
    ],
  ],
];

function command(program: string, args: readonly string[]): [string, string[]] {
  const path = (file: string) => fileURLToPath(new URL(file, import.meta.url));
  return ['node', ['--import', path('../../scripts/ts.mjs'), path(`discovery/${program}.ts`), ...args]];
}

async function discover(lab: Lab, side: SideName): Promise<Discovered> {
  const host = lab.hosts[side];
  const { stdout, stderr, code } = await host.exec(...command('discover', lab.addresses.rendezvous));
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Discovered;
}

async function serve(lab: Lab): Promise<void> {
  const { rendezvous } = lab.hosts;
  const server = rendezvous.spawn(...command('serve', lab.addresses.rendezvous));
  if (server.stdout) await once(server.stdout, 'data');
}

function summary({ reachable, mapping, filtering, allocation }: TransportProfile) {
  return { reachable, mapping, filtering, allocation: allocation.kind };
}

/** The verdicts, and the transports whose candidates were attested, in the words of `Truth`. */
function verdictsOf({ udp, tcp, attested }: Discovered) {
  return { udp: summary(udp), tcp: { ...summary(tcp), strays: tcp.strays }, attested };
}

function expected([udp, tcp]: Truth) {
  const [mapping, filtering, allocation] = udp ?? ['unknown', 'unknown', 'unknown'];
  return {
    udp: { reachable: udp !== undefined, mapping, filtering, allocation },
    tcp: tcpVerdict(tcp),
    attested: [...(udp ? ['udp'] : []), ...(tcp ? ['tcp'] : [])],
  };
}

function tcpVerdict(truth: Truth[1]) {
  const [mapping, filtering, allocation, strays] = truth ?? ['unknown', 'unknown', 'unknown', 'unknown'];
  return { reachable: truth !== undefined, mapping, filtering, allocation, strays };
}

describe.skipIf(!support.ok)('discovery behind a real NAT, 40 ms from the server', () => {
  it.each(PAIRS)('measures what it is: %s', async (a, truthA, b, truthB) => {
    const lab = await Lab.create({ a, b, delayMs: 20 });
    try {
      await serve(lab);
      const [atA, atB] = await Promise.all([discover(lab, 'a'), discover(lab, 'b')]);
      expect({ [a]: verdictsOf(atA), [b]: verdictsOf(atB) }).toEqual({
        [a]: expected(truthA),
        [b]: expected(truthB),
      });
    } finally {
      await lab.close();
    }
  });
});

const coturn = support.ok && (await hasCoturn());
if (support.ok && !coturn) console.log('skipped, the comparison with turnutils_natdiscovery: no coturn here');

describe.skipIf(!coturn)('peer nat and turnutils_natdiscovery, asking the same server', () => {
  it.each<[NatName, NatName]>([
    ['open', 'ei/ei'],
    ['ei/ad', 'ei/apd'],
    ['ad/apd', 'apd/apd-random'],
    ['apd/apd-sequential', 'cgnat'],
    ['cgnat-random', 'udp-blocked'],
  ])('agree on mapping and filtering: %s, %s', async (a, b) => {
    const lab = await Lab.create({ a, b, delayMs: 20 });
    try {
      const [server] = lab.addresses.rendezvous;
      await startCoturn(lab.hosts.rendezvous, lab.addresses.rendezvous);
      for (const host of [lab.hosts.a, lab.hosts.b]) {
        const theirs = await coturnsOpinion(host, server);
        const ours = await ourOpinion(host, server);
        expect(ours).toEqual(theirs);
      }
    } finally {
      await lab.close();
    }
  });
});
