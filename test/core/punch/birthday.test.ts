import { describe, expect, it } from 'vitest';
import { PunchAgent } from '../../../src/core/punch/agent.ts';
import { FloodBudget, type Flood } from '../../../src/core/punch/flood-budget.ts';
import { PortOrder } from '../../../src/core/punch/port-order.ts';
import type { NatProfile, TransportProfile } from '../../../src/core/nat/behavior.ts';
import { UNMEASURED } from '../../../src/core/nat/behavior.ts';
import { Random } from '../../sim/random.ts';
import type { NatName } from '../../sim/presets.ts';
import { traverse } from './traversal.ts';

const apd = 'address-and-port-dependent';

function profileWith(udp: Partial<TransportProfile>): NatProfile {
  const known = { ...UNMEASURED, reachable: true, provisional: false };
  return { version: 1, udp: { ...known, ...udp }, tcp: UNMEASURED };
}

const hard = profileWith({ mapping: apd, filtering: apd, allocation: { kind: 'random' } });
const easy = profileWith({ mapping: 'endpoint-independent', filtering: apd });
const dependent = new Set<NatName>(['apd/apd-random', 'cgnat-random']);

describe('a birthday', () => {
  it.each<[NatName, NatName, number]>([
    ['ei/apd', 'apd/apd-random', 0],
    ['apd/apd-random', 'ei/apd', 5],
    ['cgnat-random', 'cgnat', 10],
    ['ad/apd', 'ei/apd', 5],
    ['ad/ad', 'ad/ad', 5],
  ])('opens %s × %s at %i percent loss in at least 98 of 100 runs', (...pair) => {
    expect(opened(...pair)).toBeGreaterThanOrEqual(98);
  });

  it.each<[NatName, NatName, number]>([
    ['ad/ad', 'apd/apd-random', 5],
    ['apd/apd-sequential', 'ad/ad', 0],
  ])('with a flow for each probe opens %s × %s at %i percent loss in at least 92 of 100 runs', (...pair) => {
    expect(opened(...pair)).toBeGreaterThanOrEqual(92);
  });

  /** In how many of 100 runs both ends met. */
  function opened(a: NatName, b: NatName, lossPercent: number): number {
    const times: number[] = [];
    for (let seed = 0; seed < 100; seed++) {
      const report = traverse({ a, b, delayMs: 20, lossPercent, seed, kinds: ['udp', 'relay'] });
      expect(Math.max(report.a.sent, report.b.sent)).toBeLessThanOrEqual(2_048);
      expect(report.a.udp?.technique).toBe(report.b.udp?.technique);
      if (report.a.udp && report.b.udp) times.push(Math.max(report.a.udp.at, report.b.udp.at));
    }
    times.sort((x, y) => x - y);
    const [median, most] = [times[Math.floor(times.length / 2)]!, times.at(-1)!];
    console.log(
      `${a} × ${b}, ${lossPercent} % loss: ${times.length} of 100, median ${median} ms, most ${most} ms`,
    );
    return times.length;
  }

  it.each<[NatName, NatName, number]>([
    ['apd/apd-random', 'ei/apd', 0],
    ['ei/apd', 'apd/apd-random', 5],
    ['cgnat-random', 'cgnat', 0],
  ])('opens %s × %s, four addresses in its pool, at %i percent loss in at least 92 of 100 runs', (...row) => {
    const [a, b, lossPercent] = row;
    const pool = { pooling: 'arbitrary' } as const;
    const natA = dependent.has(a) ? pool : {};
    const natB = dependent.has(b) ? pool : {};
    const reports = Array.from({ length: 100 }, (_, seed) =>
      traverse({ a, b, natA, natB, delayMs: 20, lossPercent, seed, kinds: ['udp', 'relay'] }),
    );
    for (const report of reports) {
      expect(Math.max(report.a.sent, report.b.sent)).toBeLessThanOrEqual(2_048);
    }
    const met = reports.filter((report) => report.a.udp && report.b.udp);
    console.log(`${a} × ${b} with a pool, ${lossPercent} % loss: ${met.length} of 100`);
    expect(met.length).toBeGreaterThanOrEqual(92);
  });

  it('tries ports at each address of a pool at which the rendezvous saw the peer, and at no other one', () => {
    const pool = [20, 21, 22, 23].map((last) => `198.51.100.${last}`);
    const behindPool = profileWith({ ...hard.udp, publicAddresses: pool });
    const agent = agentWith(easy, behindPool, true);
    const seen = [
      ['198.51.100.22', true],
      ['198.51.100.23', false], // only the peer says so
      ['198.51.100.99', true], // an earlier network's
    ] as const;
    agent.handle(
      {
        type: 'remote',
        candidates: seen.map(([address, attested]) => ({
          type: 'srflx',
          transport: 'udp',
          endpoint: { address, port: 50_000 },
          attested,
        })),
      },
      0,
    );
    const probes = new Map<string, number>();
    for (let at = agent.deadline; at !== undefined; at = agent.deadline) {
      agent.handleTimeout(at);
      for (let output = agent.poll(); output; output = agent.poll()) {
        if (output.type !== 'send') continue;
        probes.set(output.to.address, (probes.get(output.to.address) ?? 0) + 1);
      }
    }
    const spread = probes.get('198.51.100.20')! + probes.get('198.51.100.22')!;
    expect(spread).toBeGreaterThan(1_850);
    expect(spread).toBeLessThanOrEqual(2_048);
    expect(Math.abs(probes.get('198.51.100.20')! - probes.get('198.51.100.22')!)).toBeLessThan(50);
    expect(probes.get('198.51.100.21')).toBeUndefined();
    expect(probes.get('198.51.100.23')).toBeLessThanOrEqual(10);
    expect(probes.get('198.51.100.99')).toBeLessThanOrEqual(100);
  });

  it('floods nothing but the address where the rendezvous saw the peer', () => {
    for (const [attested, most] of [
      [true, 2_048],
      [false, 10],
    ] as const) {
      for (const [local, remote] of [
        [hard, easy],
        [easy, hard],
      ] as const) {
        expect(probesSent(local, remote, attested)).toBeLessThanOrEqual(most);
      }
    }
  });

  const flood = (host: number, wish: Partial<Flood> = {}): Flood => {
    const [addresses, peer] = [[`198.51.100.${host}`], `peer ${host}`];
    return { transport: 'udp', addresses, peer, least: 100, most: 1_650, flows: 1, ...wish };
  };

  it('is the only one of its process', () => {
    const budget = new FloodBudget();
    const [first, second] = [{}, {}];
    expect(budget.claim(first, flood(1), 0)).toEqual({ probes: 1_650 });
    expect(budget.claim(second, flood(2), 1_000)).toEqual(refused(/another session/));
    budget.release(second, 0);
    expect(budget.claim(second, flood(2), 1_000)).toEqual(refused(/another session/));
    budget.release(first, 1_650);
    expect(budget.claim(second, flood(2), 1_000)).toEqual({ probes: 1_650 });
  });

  it('leaves to the next one what it has not used of the probes that its target may get in a minute', () => {
    const budget = new FloodBudget();
    const owner = {};
    budget.claim(owner, flood(1), 0);
    budget.release(owner, 250);
    expect(budget.claim(owner, flood(1), 10_000)).toEqual({ probes: 1_600 });
    budget.release(owner, 1_550);
    expect(budget.claim(owner, flood(1), 59_000)).toEqual(refused(/in a minute/));
    expect(budget.claim(owner, flood(1), 60_000)).toEqual({ probes: 300 });
    budget.release(owner, 300);
    expect(budget.claim(owner, flood(1), 120_000)).toEqual({ probes: 1_650 });
  });

  it('over several addresses counts at each by its share', () => {
    const budget = new FloodBudget();
    const owner = {};
    const both = { addresses: ['198.51.100.1', '198.51.100.2'], most: 1_850 };
    const claim = (wish: Partial<Flood>, now: number) => {
      const leave = budget.claim(owner, flood(1, wish), now);
      if ('probes' in leave) budget.release(owner, leave.probes);
      return leave;
    };
    expect(claim(both, 0)).toEqual({ probes: 1_850 });
    expect(claim({ most: 1_850 }, 1_000)).toEqual({ probes: 925 });
    expect(claim(both, 2_000)).toEqual(refused(/in a minute/));
    expect(claim({ ...both, addresses: ['198.51.100.2', '198.51.100.3'] }, 3_000)).toEqual({ probes: 1_850 });
  });

  it('opens 512 flows to one address in a minute at most', () => {
    const budget = new FloodBudget();
    const owner = {};
    const rows = { flows: 256, least: 512, most: 1_024 };
    const claim = (now: number) => {
      const leave = budget.claim(owner, flood(1, rows), now);
      budget.release(owner, 512);
      return leave;
    };
    expect(claim(0)).toEqual({ probes: 1_024 });
    expect(claim(10_000)).toEqual({ probes: 1_024 });
    expect(claim(20_000)).toEqual(refused(/in a minute/));
    expect(claim(60_000)).toEqual({ probes: 1_024 });
  });

  it.each([
    ['early', easy, hard],
    ['with its sockets', hard, easy],
  ])('that ended %s is followed by a smaller one, within the caps of the minute', (_, local, remote) => {
    const floods = new FloodBudget();
    const rounds: number[] = [];
    for (const [from, stopAt] of [
      [0, 1_300],
      [1_400, 12_000],
      [12_100, 13_000],
    ] as const) {
      const agent = agentWith(local, remote, true, floods, from);
      let sent = 0;
      for (let at = agent.deadline; at !== undefined && at <= stopAt; at = agent.deadline) {
        agent.handleTimeout(at);
        for (let output = agent.poll(); output; output = agent.poll()) if (output.type === 'send') sent++;
      }
      agent.handle({ type: 'stop' }, stopAt);
      rounds.push(sent);
    }
    expect(rounds[1]).toBeGreaterThan(400);
    expect(rounds[0]! + rounds[1]! + rounds[2]!).toBeLessThanOrEqual(2_048);
  });

  it('is held by TCP once an hour with the same peer, wherever that peer is', () => {
    const budget = new FloodBudget();
    const owner = {};
    const claim = (host: number, peer: string, now: number) =>
      budget.claim(owner, flood(host, { transport: 'tcp', peer }), now);
    expect(claim(1, 'alice', 0)).toEqual({ probes: 1_650 });
    expect(claim(2, 'alice', 3_599_999)).toEqual(refused(/less than an hour/));
    expect(claim(2, 'bob', 3_599_999)).toEqual({ probes: 1_650 });
    expect(claim(1, 'alice', 3_600_000)).toEqual({ probes: 1_650 });
  });

  it('waits for its turn and says so', () => {
    const floods = new FloodBudget();
    const other = {};
    floods.claim(other, flood(9), 0);
    const agent = agentWith(easy, hard, true, floods);
    const traces: string[] = [];
    let sent = 0;
    for (let at = agent.deadline; at !== undefined && at <= 3_000; at = agent.deadline) {
      agent.handleTimeout(at);
      if (at >= 1_000) floods.release(other, 0);
      for (let output = agent.poll(); output; output = agent.poll()) {
        if (output.type === 'trace') traces.push(output.text);
        if (output.type === 'send' && at < 1_000) sent++;
      }
    }
    expect(traces).toContain('waits: another session is flooding');
    expect(sent).toBeLessThan(20);
  });
});

describe('the order of ports', () => {
  it('is random and names each port from 1024 up once', () => {
    const random = new Random(1);
    const order = new PortOrder((below) => random.integer(0, below - 1));
    const ports = Array.from({ length: 64_512 }, () => order.next()!);
    expect(order.next()).toBeUndefined();
    expect(new Set(ports).size).toBe(64_512);
    expect(Math.min(...ports.slice(0, 1_000))).toBeLessThan(2_000);
    expect(Math.max(...ports.slice(0, 1_000))).toBeGreaterThan(64_000);
    expect(ports.every((port) => port >= 1_024 && port <= 65_535)).toBe(true);
  });
});

const refused = (why: RegExp) => ({ refusal: expect.stringMatching(why) as string });

function agentWith(
  local: NatProfile,
  remote: NatProfile,
  attested: boolean,
  floods?: FloodBudget,
  startAt = 0,
) {
  const agent = new PunchAgent({
    role: 'initiator',
    kinds: ['udp', 'relay'],
    credentials: { username: 'u', sendKey: new Uint8Array(32), receiveKey: new Uint8Array(32).fill(1) },
    floods,
  });
  const endpoint = { address: '198.51.100.20', port: 40_000 };
  agent.handle({ type: 'local', profile: local }, 0);
  const candidates = [{ type: 'srflx', transport: 'udp', endpoint, attested } as const];
  agent.handle({ type: 'remote', profile: remote, candidates }, 0);
  agent.handle({ type: 'start', at: startAt, roundTripMs: 80 }, startAt);
  return agent;
}

function probesSent(local: NatProfile, remote: NatProfile, attested: boolean): number {
  const agent = agentWith(local, remote, attested);
  let sent = 0;
  for (let at = agent.deadline; at !== undefined; at = agent.deadline) {
    agent.handleTimeout(at);
    for (let output = agent.poll(); output; output = agent.poll()) if (output.type === 'send') sent++;
  }
  return sent;
}
