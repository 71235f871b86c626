import { describe, expect, it } from 'vitest';
import type { Prospect } from '../../peer/prospect.ts';
import { labSupport, type LabHost, type NatName } from './lab.ts';
import { Scenario } from './scenario.ts';
import { transferAcrossPaths } from './transfer.ts';
import { shortfallOf, type BestKind } from './verdict.ts';

const support = await labSupport();
if (!support.ok) console.log(`skipped, sessions behind real NATs: ${support.reason}`);

/** What the meetings fall short of, in words; one meeting for each restriction of the kinds of path. */
async function shortfalls(a: NatName, b: NatName, wanted: [BestKind, paths?: string][]): Promise<string[]> {
  const scenario = await Scenario.start({ a, b, delayMs: 10 });
  const found: string[] = [];
  try {
    for (const [best, paths] of wanted) {
      const meeting = await scenario.meet({ paths });
      const shortfall = shortfallOf(meeting, best);
      if (shortfall !== undefined) found.push(`${shortfall} ${JSON.stringify(meeting)}`);
    }
    return found;
  } finally {
    await scenario.close();
  }
}

/**
 * The least round trips that both kernels have seen on the direct TCP paths of some sessions, each by a fresh peer at A: BBR goes by them.
 * Not a number where there is none.
 */
async function leastRoundTrips(sessions: number): Promise<[a: number, b: number][]> {
  const scenario = await Scenario.start({ a: 'ei/apd', b: 'ei/apd', delayMs: 10 });
  const { hosts, addresses } = scenario.lab;
  const seenBy = async (host: LabHost, remote: string): Promise<number> => {
    const { stdout } = await host.exec('ss', ['-tinHO', 'state', 'established', 'dst', remote]);
    return Number(/ minrtt:([\d.]+)/.exec(stdout)?.[1]);
  };
  try {
    const found: [number, number][] = [];
    for (let session = 0; session < sessions; session++) {
      const connect = scenario.connect('-W', 'echo');
      await connect.event('path', ({ kind }) => kind === 'tcp');
      found.push([await seenBy(hosts.a, addresses.b.public), await seenBy(hosts.b, addresses.a.public)]);
      connect.child.stdin!.end();
      await connect.ended;
    }
    return found;
  } finally {
    await scenario.close();
  }
}

// `npm run campaign` goes through every pair, many times each.
describe.skipIf(!support.ok)('a session by the real commands, behind real NATs', () => {
  it.each<[NatName, NatName, ...[BestKind, paths?: string][]]>([
    ['ei/apd', 'ei/apd', ['direct'], ['tcp', 'tcp']],
    ['open', 'ei/ad', ['direct']],
    ['udp-blocked', 'ei/apd', ['tcp']],
    ['same-lan', 'same-lan', ['direct']],
    ['same-nat', 'same-nat', ['direct'], ['tcp', 'tcp']],
    ['ipv6-firewall', 'ipv6-firewall', ['direct', 'udp,relay'], ['tcp', 'tcp']],
    ['ipv6-only', 'ipv6-firewall', ['direct']],
    ['ipv6-only', 'ipv6-only', ['direct']],
    ['same-nat-internal', 'same-nat-internal', ['direct']],
    ['same-cgnat', 'same-cgnat', ['direct'], ['tcp', 'tcp']],
    ['apd/apd-sequential', 'apd/apd-sequential', ['direct']],
    ['ad/ad', 'ad/apd', ['direct', 'udp,relay']],
  ])('%s × %s goes by the best way that there is: %s', async (a, b, ...wanted) => {
    expect(await shortfalls(a, b, wanted)).toEqual([]);
  });

  // Most of their time goes by in waiting.
  it.concurrent.each<[NatName, NatName]>([
    ['apd/apd-random', 'apd/apd-random'],
    ['tcp443-only', 'ei/apd'],
    ['proxy-only', 'ei/apd'],
    ['ipv6-only', 'ei/apd'],
    ['same-nat-no-hairpin', 'same-nat-no-hairpin'],
    ['same-cgnat-no-hairpin', 'same-cgnat-no-hairpin'],
  ])('%s × %s is relayed, and says why', async (a, b) => {
    expect(await shortfalls(a, b, [['relay']])).toEqual([]);
  });

  it('finds its way by TCP beside another between the same two peers, from another port', async () => {
    const scenario = await Scenario.start({ a: 'ei/apd', b: 'ei/apd', delayMs: 10 });
    try {
      const [first, second, third] = await scenario.librarySessions(3, 'tcp,relay');
      expect(first).toMatchObject({ kind: 'tcp' });
      expect(second).toMatchObject({ kind: 'tcp', remote: first!.remote });
      expect(third).toMatchObject({ kind: 'tcp', remote: first!.remote });
      expect(new Set([first, second, third].map((path) => path!.local)).size).toBe(3);
    } finally {
      await scenario.close();
    }
  });

  it('has a TCP path on which both kernels measure the whole round trip, since no SYNs crossed', async () => {
    const found = await leastRoundTrips(3);
    const whole = found.filter((both) => both.every((ms) => ms >= 35)); // of 40; a machine that does much beside may have some cross
    expect(whole.length).toBeGreaterThanOrEqual(2);
  });

  it('is remembered by what it was direct by, for the next plan', async () => {
    const scenario = await Scenario.start({ a: 'ei/apd', b: 'ei/apd', delayMs: 10 });
    try {
      const connect = scenario.peer(
        'a',
        'home',
        'connect',
        scenario.id,
        '-W',
        'echo',
        '--paths',
        'tcp,relay',
      );
      await connect.event('path', ({ direct, state }) => direct === true && state === 'active');
      connect.child.stdin!.end();
      await connect.ended;
      const { stdout } = await scenario.peer('a', 'home', 'plan', scenario.id).ended;
      const { worked, stages, expected } = JSON.parse(String(stdout)) as Prospect;
      expect(worked).toMatchObject({ transport: 'tcp', technique: 'simultaneous open' });
      expect([expected, stages[0]?.technique]).toEqual(['tcp', 'simultaneous open']);
    } finally {
      await scenario.close();
    }
  });

  it('loses no byte of a transfer both ways while its path is cut and restored', async () => {
    const bytes = 24 * 1024 * 1024;
    const { equal, changes } = await transferAcrossPaths({ a: 'ei/apd', b: 'ei/apd', delayMs: 5, bytes });
    expect(equal).toBe(true);
    const relayed = changes.map(({ kinds }) => kinds.every((kind) => kind.startsWith('relay')));
    expect(relayed).toEqual([false, true, false]);
    // A dead path shows after 1.5 s; the rest is for a machine that does much beside.
    expect(changes.filter(({ stallMs }) => stallMs > 30_000)).toEqual([]);
  }, 120_000);
});
