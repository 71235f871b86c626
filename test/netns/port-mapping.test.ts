import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { labSupport, type NatName } from './lab.ts';
import { hasMiniupnpd } from './port-mapping.ts';
import { Scenario, type ScenarioOptions } from './scenario.ts';

const support = await labSupport();
const skipped = support.ok ? ((await hasMiniupnpd()) ? undefined : 'miniupnpd is missing') : support.reason;
if (skipped !== undefined) console.log(`skipped, routers that map ports: ${skipped}`);

const scenarios: Scenario[] = [];

afterEach(async () => {
  await Promise.all(scenarios.splice(0).map((scenario) => scenario.close()));
});

async function scenarioOf(options: ScenarioOptions): Promise<Scenario> {
  const scenario = await Scenario.start({ delayMs: 10, ...options });
  scenarios.push(scenario);
  return scenario;
}

/** Asks until the answer is as wanted, for as long as a busy machine may take. */
async function eventually<T>(ask: () => Promise<T>, wanted: (answer: T) => boolean): Promise<T> {
  const until = performance.now() + 20_000;
  for (;;) {
    const answer = await ask();
    if (wanted(answer) || performance.now() > until) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const toHost = (transport: string, mappings: readonly string[]) =>
  mappings.filter((mapping) => new RegExp(`^${transport} \\d+ > 192\\.168\\.2\\.2:\\d+$`).test(mapping));

describe.skipIf(skipped !== undefined)('a router that maps ports on request (miniupnpd)', () => {
  it.each<[NatName, NatName]>([
    ['apd/apd-random', 'apd/apd-random+upnp'],
    ['apd/apd-random+pcp', 'apd/apd-random'],
    ['ei/apd', 'apd/apd-random+pcp'],
    ['apd/apd-random+nat-pmp', 'apd/apd-random'],
  ])('%s × %s goes direct by a mapped port, each kind of path alone', async (a, b) => {
    const scenario = await scenarioOf({ a, b });
    const udp = await scenario.meet({ paths: 'udp,relay' });
    expect(udp).toMatchObject({ direct: true, a: 'udp', b: 'udp', technique: 'mapped port' });
    const tcp = await scenario.meet({ paths: 'tcp,relay' });
    expect(tcp).toMatchObject({ direct: true, a: 'tcp', b: 'tcp' });
    expect(tcp.technique).toMatch(/direct dial|reversed dial/);
  });

  it('is asked for a port of each kind, and given both back when the peer ends', async () => {
    for (const b of ['ei/apd+upnp', 'ei/apd+pcp', 'ei/apd+nat-pmp'] as const) {
      const { lab, up } = await scenarioOf({ a: 'open', b });
      const mapped = await eventually(
        () => lab.portMappings('b'),
        ({ length }) => length === 2,
      );
      expect([toHost('udp', mapped).length, toHost('tcp', mapped).length]).toEqual([1, 1]);
      up.child.kill('SIGTERM');
      await up.ended;
      expect(await lab.portMappings('b')).toEqual([]);
    }
  });

  it('keeps a port mapped beyond its lease, and lets it go when its owner is killed', async () => {
    const leaseSeconds = 4;
    const { lab, up } = await scenarioOf({ a: 'open', b: 'ei/apd+pcp', leaseSeconds });
    const first = await eventually(
      () => lab.portMappings('b'),
      ({ length }) => length === 2,
    );
    await new Promise((resolve) => setTimeout(resolve, 2.5 * leaseSeconds * 1_000));
    expect(await lab.portMappings('b')).toEqual(first);
    up.child.kill('SIGKILL');
    await once(up.child, 'exit');
    const left = await eventually(
      () => lab.portMappings('b'),
      ({ length }) => length === 0,
    );
    expect(left).toEqual([]);
  });

  it('is reported by `peer nat`, as is a second NAT that makes it useless', async () => {
    const nat = async (a: NatName, ...flags: string[]) => {
      const scenario = await scenarioOf({ a, b: 'open' });
      const { stdout } = await scenario.peer('a', 'nat', 'nat', ...flags).ended;
      return JSON.parse(stdout.toString()) as { portMapping: unknown };
    };
    expect(await nat('apd/apd-random+upnp')).toMatchObject({
      portMapping: {
        protocol: 'upnp',
        externalAddress: '44.128.1.1',
        ports: { udp: expect.any(Number), tcp: expect.any(Number) },
        verified: { udp: true, tcp: true },
        note: null,
      },
    });
    expect(await nat('apd/apd-random+nat-pmp')).toMatchObject({
      portMapping: { protocol: 'nat-pmp', verified: { udp: true, tcp: true }, note: null },
    });
    expect(await nat('cgnat+pcp')).toMatchObject({
      portMapping: { externalAddress: null, verified: { udp: false, tcp: false }, note: expect.any(String) },
    });
    expect(await nat('ei/apd')).toMatchObject({ portMapping: null });
    expect(await nat('apd/apd-random+upnp', '--no-port-mapping')).toMatchObject({ portMapping: null });
  });
});
