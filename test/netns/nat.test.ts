import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Lab, labSupport, type NatName, type SideName } from './lab.ts';
import type { Measurement } from './probe/measure.ts';
import { buildPrograms, type Programs } from './probe/programs.ts';

const support = await labSupport();
if (!support.ok) console.log(`skipped, real NATs: ${support.reason}`);

/** Measuring is mostly waiting for what must not come. */
const CONCURRENT = { concurrent: true };

const blocked = { udp: 'blocked', tcp: 'blocked', tcp443: false, proxy: false } as const;

/** One NAT's behaviour, the same for UDP and TCP; strays dropped, or answered by ICMP and RST. */
function behaves(
  mapping: string,
  filtering: string,
  allocation: string,
  { strays = 'drop', pool = false }: { strays?: 'drop' | 'answered'; pool?: boolean } = {},
): Measurement {
  const both = { mapping, filtering, allocation, pool };
  const [udp, tcp] = strays === 'drop' ? ['drop', 'drop'] : ['icmp', 'rst'];
  return { udp: { ...both, strays: udp }, tcp: { ...both, strays: tcp }, tcp443: true, proxy: true };
}

const ANSWERED = { strays: 'answered' } as const;

const EI = 'endpoint-independent';
const AD = 'address-dependent';
const APD = 'address-and-port-dependent';
const easy = behaves(EI, APD, 'preserving');

/** Every NAT by name, and what plain sockets measure behind it. */
const MEASURED: Partial<Record<NatName, Measurement>> = {
  // Nobody filters before the open host: its own stack answers strays.
  open: behaves('none', 'none', 'preserving', ANSWERED),
  'ei/ei': behaves(EI, EI, 'preserving'),
  'ei/ad': behaves(EI, AD, 'preserving'),
  'ei/apd': easy,
  // A port chosen by a hash of the destination address: for fresh sockets it looks random.
  'ad/ad': behaves(AD, AD, 'random'),
  'ad/apd': behaves(AD, APD, 'random'),
  'apd/apd-random': behaves(APD, APD, 'random'),
  'apd/apd-sequential': behaves(APD, APD, 'sequential'),
  'udp-blocked': { ...easy, udp: 'blocked' },
  'tcp443-only': { ...blocked, tcp443: true },
  'proxy-only': { ...blocked, proxy: true },
  cgnat: easy,
  'cgnat-random': behaves(APD, APD, 'random'),
  'ei/apd-random': behaves(EI, APD, 'random'),
  'ei/apd+rst': behaves(EI, APD, 'preserving', ANSWERED),
  'ei/apd+accept': behaves(EI, APD, 'preserving', ANSWERED),
  'ei/ad+rst': behaves(EI, AD, 'preserving', ANSWERED),
  'apd/apd-random+rst': behaves(APD, APD, 'random', ANSWERED),
  'ei/apd+pool': easy, // one host keeps one address
  'apd/apd-random+pool': behaves(APD, APD, 'random', { pool: true }),
  'ei/apd+crossing-drop': easy,
  'ei/apd+crossing-rst': { ...easy, tcp: behaves(EI, APD, 'preserving', ANSWERED).tcp },
  'ei/apd+short': easy,
};

/** Two NATs share one lab, as its two sides. */
const PAIRS = pairs(Object.keys(MEASURED) as NatName[]);

function pairs<Item>(items: readonly Item[]): [Item, Item][] {
  return items.flatMap((item, index) => {
    return index % 2 === 0 ? [[item, items[index + 1] ?? items[0]!]] : [];
  });
}

let programs: Programs;

beforeAll(async () => {
  programs = await buildPrograms();
});

afterAll(async () => {
  await programs.remove();
});

async function startReflectors(lab: Lab): Promise<void> {
  for (const host of [lab.hosts.rendezvous, lab.hosts.proxy]) {
    const reflector = host.spawn('node', [programs.path('reflect'), ...host.addresses]);
    if (reflector.stdout) await once(reflector.stdout, 'data');
  }
}

async function measure(lab: Lab, side: SideName): Promise<Measurement> {
  const { rendezvous, proxy } = lab.addresses;
  const result = await lab.hosts[side].exec('node', [programs.path('measure'), ...rendezvous, proxy]);
  if (result.code !== 0) throw new Error(result.stderr);
  return JSON.parse(result.stdout) as Measurement;
}

async function withLab<Result>(a: NatName, b: NatName, use: (lab: Lab) => Promise<Result>): Promise<Result> {
  const lab = await Lab.create({ a, b });
  try {
    return await use(lab);
  } finally {
    await lab.close();
  }
}

/** What `mapping.ts` prints on host A. */
async function mappings(lab: Lab, pauseMs: number, ...afterMs: number[]): Promise<(number | null)[]> {
  const args = [lab.addresses.rendezvous[0], pauseMs, ...afterMs].map(String);
  const { stdout } = await lab.hosts.a.exec('node', [programs.path('mapping'), ...args]);
  return JSON.parse(stdout) as (number | null)[];
}

interface Punched {
  connected: boolean;
  remotePort?: number;
}

interface PunchOptions {
  protocol: 'udp' | 'tcp';
  towards?: 'public' | 'lan';
  /** Side `a` begins once packets from `b` are on their way to it. */
  late?: boolean;
  patienceMs?: number;
  /** By TCP, as often as it is refused: nothing between the two keeps the first SYN from a host that has not dialled yet. */
  again?: boolean;
}

/** Both hosts punch from port 5000 (a) and 6000 (b) towards each other's preserved mapping. */
async function punch(lab: Lab, options: PunchOptions): Promise<[Punched, Punched]> {
  const { protocol, towards = 'public', late = false, patienceMs = 5000, again = false } = options;
  const end = async (side: SideName, local: number, remote: number): Promise<Punched> => {
    const address = lab.addresses[side === 'a' ? 'b' : 'a'][towards];
    const args = [protocol, local, address, remote, patienceMs, lab.addresses.rendezvous[0]];
    if (again) args.push('again');
    const { stdout } = await lab.hosts[side].exec('node', [programs.path('punch'), ...args.map(String)]);
    return JSON.parse(stdout) as Punched;
  };
  const b = end('b', 6000, 5000);
  if (late) await firstPacket(lab, protocol);
  return Promise.all([end('a', 5000, 6000), b]);
}

async function firstPacket(lab: Lab, protocol: 'udp' | 'tcp'): Promise<void> {
  while ((await lab.natCounters('b')).direct[protocol].sent.packets === 0) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe.skipIf(!support.ok)('a NAT of the lab', CONCURRENT, () => {
  it.each(PAIRS)('behaves as it is named: %s and %s', async (a, b) => {
    await withLab(a, b, async (lab) => {
      await startReflectors(lab);
      const [atA, atB] = await Promise.all([measure(lab, 'a'), measure(lab, 'b')]);
      expect({ [a]: atA, [b]: atB }).toEqual({ [a]: MEASURED[a], [b]: MEASURED[b] });
    });
  });

  it.each(['same-lan', 'same-nat', 'same-nat-internal', 'same-nat-no-hairpin', 'same-cgnat'] as const)(
    'behaves like ei/apd towards the world where both hosts share it: %s',
    async (name) => {
      await withLab(name, name, async (lab) => {
        await startReflectors(lab);
        expect(await measure(lab, 'b')).toEqual(easy);
      });
    },
  );
});

describe.skipIf(!support.ok)('a NAT of the lab, in time', CONCURRENT, () => {
  it('forgets an idle UDP mapping after 20 s where its lifetime is short', async () => {
    await withLab('ei/apd+short', 'open', async (lab) => {
      await startReflectors(lab);
      const [, kept, lost] = await mappings(lab, 0, 0, 17_000, 24_000);
      expect(kept).not.toBeNull();
      expect(lost).toBeNull();
    });
  });

  it('gives the ports in between to others where it is busy', async () => {
    const gap = async (name: NatName) =>
      withLab(name, 'open', async (lab) => {
        await startReflectors(lab);
        const [first, second] = await mappings(lab, 2_000, 0, 0);
        return second! - first!;
      });
    expect(await gap('apd/apd-sequential')).toBe(1);
    // 40 in two seconds; a Poisson number as small as 10 comes once in ten million times.
    expect(await gap('apd/apd-sequential+busy')).toBeGreaterThan(10);
  });

  it('has another address after a change, and no mapping of the old one', async () => {
    await withLab('ei/ei', 'open', async (lab) => {
      const { a, b } = lab.addresses;
      expect(await punch(lab, { protocol: 'udp' })).toEqual(met);
      const changed = await lab.changePublicAddress('a');
      expect(changed).not.toBe(a.public);
      expect(await lab.natFlows('a')).toEqual([]);
      expect((await punch(lab, { protocol: 'udp', patienceMs: 1500 }))[0]).toEqual(met[0]);
      const [flow] = await lab
        .natFlows('a')
        .then((flows) => flows.filter(({ reply }) => reply.source === b.public));
      expect(flow?.reply.destination).toBe(changed);
    });
  });

  it('is cut off while its link is out, and keeps its mappings', async () => {
    const lab = await Lab.create({ a: 'ei/apd', b: 'open', delayMs: 0 });
    try {
      await startReflectors(lab);
      const asked = mappings(lab, 0, 3_000);
      while ((await lab.natFlows('a')).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      await lab.linkOutage('a', 500);
      expect(await asked).not.toContain(null);
      const outage = lab.linkOutage('a', 4_000);
      expect(await mappings(lab, 0, 500)).toEqual([null]);
      await outage;
      expect(await mappings(lab, 0, 0)).not.toContain(null);
    } finally {
      await lab.close();
    }
  });
});

const met: [Punched, Punched] = [
  { connected: true, remotePort: 6000 },
  { connected: true, remotePort: 5000 },
];
const missed: [Punched, Punched] = [{ connected: false }, { connected: false }];

describe.skipIf(!support.ok)('two hosts that send to each other', CONCURRENT, () => {
  it.each(['udp', 'tcp'] as const)(
    'meet through two easy NATs by %s, as both NATs count',
    async (protocol) => {
      await withLab('ei/apd', 'ei/apd', async (lab) => {
        expect(await punch(lab, { protocol })).toEqual(met);
        const [a, b] = await Promise.all([lab.natCounters('a'), lab.natCounters('b')]);
        for (const { direct } of [a, b]) expect(direct[protocol].received.packets).toBeGreaterThan(0);
        expect(a.relay[protocol].sent.packets).toBe(0);
        const mapping = { destination: lab.addresses.a.public, destinationPort: 5000 };
        const toPeer = (await lab.natFlows('a')).find(({ reply }) => reply.source === lab.addresses.b.public);
        expect(toPeer).toMatchObject({ protocol, reply: mapping });
      });
    },
  );

  it.each(['udp', 'tcp'] as const)('meet through NATs behind NATs by %s', async (protocol) => {
    await withLab('cgnat', 'cgnat', async (lab) => expect(await punch(lab, { protocol })).toEqual(met));
  });

  it.each(['udp', 'tcp'] as const)('miss each other through two random NATs by %s', async (protocol) => {
    await withLab('apd/apd-random', 'apd/apd-random', async (lab) => {
      expect(await punch(lab, { protocol, patienceMs: 1500 })).toEqual(missed);
      expect((await lab.natCounters('a')).direct[protocol].received.packets).toBe(0);
    });
  });

  it('meet within their LAN, and the bridge counts it', async () => {
    await withLab('same-lan', 'same-lan', async (lab) => {
      expect(await punch(lab, { protocol: 'udp', towards: 'lan' })).toEqual(met);
      expect((await lab.natCounters('b')).direct.udp.received.packets).toBeGreaterThan(0);
    });
  });

  it.each(['udp', 'tcp'] as const)(
    'meet at their common public address by %s where it hairpins',
    async (protocol) => {
      await withLab('same-nat', 'same-nat', async (lab) => {
        expect(await punch(lab, { protocol, again: true })).toEqual(met);
        expect((await lab.natCounters('b')).direct[protocol].received.packets).toBeGreaterThan(0);
      });
    },
  );

  it.each(['public', 'lan'] as const)(
    'miss each other behind one NAT without hairpin: %s address',
    async (towards) => {
      await withLab('same-nat-no-hairpin', 'same-nat-no-hairpin', async (lab) => {
        expect(await punch(lab, { protocol: 'udp', towards, patienceMs: 1500 })).toEqual(missed);
      });
    },
  );

  it('are remapped where strays may enter the NAT before the host behind it sends', async () => {
    await withLab('ei/apd+accept', 'open', async (lab) => {
      const [, b] = await punch(lab, { protocol: 'udp', late: true });
      expect(b.connected).toBe(true);
      expect(b.remotePort).not.toBe(5000);
    });
    await withLab('ei/apd', 'open', async (lab) => {
      expect(await punch(lab, { protocol: 'udp', late: true })).toEqual(met);
    });
  });

  it.each<[NatName, NatName, [Punched, Punched]]>([
    ['ei/apd+crossing-drop', 'ei/apd', met],
    ['ei/apd+crossing-drop', 'ei/apd+crossing-drop', missed],
    ['ei/apd+crossing-rst', 'ei/apd+crossing-rst', missed],
  ])('by simultaneous opens, where a NAT refuses crossing SYNs: %s and %s', async (a, b, expected) => {
    await withLab(a, b, async (lab) => {
      expect(await punch(lab, { protocol: 'tcp' })).toEqual(expected);
      // UDP knows nothing of it.
      expect(await punch(lab, { protocol: 'udp' })).toEqual(met);
    });
  });
});
