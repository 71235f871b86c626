import { describe, expect, it } from 'vitest';
import type { TransportProfile } from '../../src/core/nat/behavior.ts';
import { coturnsOpinion, hasCoturn, ourOpinion, startCoturn } from './discovery/coturn.ts';
import type { Discovered } from './discovery/discover.ts';
import { discoverFrom, serveStun } from './discovery/programs.ts';
import { truthOf } from './discovery/truth.ts';
import { Lab, labSupport, type NatName } from './lab.ts';

const support = await labSupport();
if (!support.ok) console.log(`skipped, discovery behind real NATs: ${support.reason}`);

const PAIRS: [NatName, NatName][] = [
  ['open', 'ei/ei'],
  ['ei/ad', 'ei/apd'],
  ['ad/apd', 'apd/apd-random'],
  ['apd/apd-sequential', 'udp-blocked'],
  ['tcp443-only', 'cgnat'],
  ['cgnat-random', 'ei/apd+accept'],
  ['ei/apd+rst', 'ei/ad+rst'],
];

/** The verdicts, and the transports whose candidates were attested. */
function verdictsOf({ udp, tcp, attested }: Discovered) {
  return { udp: verdictOf(udp), tcp: verdictOf(tcp), attested };
}

function verdictOf({ reachable, mapping, filtering, allocation, strays, hairpin }: TransportProfile) {
  return { reachable, mapping, filtering, allocation: allocation.kind, strays, hairpin };
}

function expected(name: NatName) {
  const [udp, tcp] = [truthOf(name, 'udp'), truthOf(name, 'tcp')];
  return { udp, tcp, attested: [...(udp.reachable ? ['udp'] : []), ...(tcp.reachable ? ['tcp'] : [])] };
}

describe.skipIf(!support.ok)('discovery behind a real NAT, 40 ms from the server', () => {
  it.each(PAIRS)('measures what it is: %s, %s', async (a, b) => {
    const lab = await Lab.create({ a, b, delayMs: 20 });
    try {
      await serveStun(lab);
      const [[atA], [atB]] = await Promise.all([discoverFrom(lab, 'a'), discoverFrom(lab, 'b')]);
      expect({ [a]: verdictsOf(atA!), [b]: verdictsOf(atB!) }).toEqual({
        [a]: expected(a),
        [b]: expected(b),
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
