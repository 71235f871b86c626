import { describe, expect, it } from 'vitest';
import type { NatBehavior } from '../../sim/nat-behavior.ts';
import { ProbeBudget } from '../../../src/core/punch/probe-budget.ts';
import type { FirstSyn } from '../../../src/core/punch/held-port.ts';
import { TcpOpening } from '../../../src/core/punch/tcp-open.ts';
import type { PunchOutput } from '../../../src/core/punch/events.ts';
import type { SessionRole } from '../../../src/core/session/role.ts';
import { traverse } from './traversal.ts';

type TcpBehavior = NatBehavior['tcp'];

const strays = (policy: TcpBehavior['strays']) => ({ tcp: { strays: policy } }) as const;
const refusing = (policy: TcpBehavior['strays']) =>
  ({ tcp: { strays: policy, crossingSyns: false } }) as const;

function open(natA: Partial<Record<'tcp', Partial<TcpBehavior>>>, natB: typeof natA, skewMs = 0) {
  const { a, b } = traverse({
    a: 'ei/apd',
    b: 'ei/apd',
    natA,
    natB,
    delayMs: 20,
    skewMs,
    kinds: ['tcp', 'relay'],
  });
  return { a, b, ms: Math.max(a.tcp?.elapsedMs ?? NaN, b.tcp?.elapsedMs ?? NaN) };
}

describe('TCP opening from held ports, 80 ms between the peers', () => {
  it.each([0, 10, 30, 60, 100, 200, 300])('opens where strays are dropped, %i ms apart', (skewMs) => {
    expect(open({}, {}, skewMs).ms).toBeLessThanOrEqual(180 + 2 * skewMs);
  });

  it.each([0, 10, 30])(
    'crosses where strays are reset, %i ms apart: less than the one-way time',
    (skewMs) => {
      expect(open(strays('rst'), strays('rst'), skewMs).ms).toBeLessThanOrEqual(80 + 2 * skewMs);
    },
  );

  it.each([60, 100, 150, 200, 250, 300])(
    'meets in a later slot where strays are reset, %i ms apart',
    (skewMs) => {
      expect(open(strays('rst'), strays('rst'), skewMs).ms).toBeLessThanOrEqual(4_500);
    },
  );

  it.each(['drop', 'rst'] as const)('passes one NAT that refuses crossing SYNs (%s)', (policy) => {
    expect(open(refusing(policy), {}).ms).toBeLessThanOrEqual(3_000);
    expect(open({}, refusing(policy)).ms).toBeLessThanOrEqual(3_000);
  });

  it('does not pass two NATs that refuse crossing SYNs, and says what it saw', () => {
    const { a, b } = open(refusing('drop'), refusing('drop'));
    for (const end of [a, b]) {
      expect(end.tcp).toBeUndefined();
      expect(end.failures.find(({ transport }) => transport === 'tcp')?.reason).toMatch(
        /simultaneous open did not get through: \d+ dials, \d+ × no answer/,
      );
    }
  });
});

describe('an initiator with several connections', () => {
  function initiator() {
    const outputs: PunchOutput[] = [];
    const opening = new TcpOpening({
      budget: new ProbeBudget(),
      role: 'initiator',
      emit: (output) => void outputs.push(output),
      roundMs: () => 10_000,
      searchTechnique: () => 'birthday',
      firstSyn: () => 'at once',
      onRefused: () => {},
    });
    const endpoints = [1, 2].map((host) => ({ address: `198.51.100.${host}`, port: 5_000 }));
    for (const endpoint of endpoints) {
      opening.add({ type: 'host', transport: 'tcp', endpoint, attested: false }, 0);
    }
    opening.start(0, 80, 0);
    opening.handleTimeout(0);
    const local = { address: '192.168.1.2', port: 6_000 };
    opening.connected('dial-1', local, endpoints[0]!, 80);
    opening.connected('dial-2', local, endpoints[1]!, 81);
    return { opening, paths: () => outputs.filter(({ type }) => type === 'path'), outputs };
  }

  it('is handed one at a time, and the next when that one turns out not to be the peer', () => {
    const { opening, paths } = initiator();
    expect(paths()).toMatchObject([{ connection: 'dial-1' }]);
    opening.broken('dial-1', 200);
    expect(paths()).toMatchObject([{ connection: 'dial-1' }, { connection: 'dial-2' }]);
  });

  it('waits for the TLS of eight at most, however many come in', () => {
    const { opening, outputs } = initiator();
    const [local, remote] = [
      { address: '192.168.1.2', port: 6_000 },
      { address: '198.51.100.1', port: 9 },
    ];
    for (let n = 0; n < 100; n++) opening.accepted(`accepted-${n}`, local, remote, false, 100);
    expect(outputs.filter(({ type }) => type === 'cancel-dial')).toHaveLength(94); // two were dialled before
    opening.broken('dial-1', 200);
    opening.accepted('later', local, remote, false, 300);
    expect(outputs.filter(({ type }) => type === 'cancel-dial')).toHaveLength(94);
  });

  it('drops the others once one is secured', () => {
    const { opening, outputs } = initiator();
    opening.secure('dial-1');
    expect(outputs.at(-1)).toEqual({ type: 'cancel-dial', connection: 'dial-2' });
    expect(opening.finished).toBe(true);
    expect(opening.deadline).toBeUndefined();
  });
});

describe('the first dial from a held port', () => {
  const CONFIRM_MS = 30;

  interface Circumstances {
    readonly role?: SessionRole;
    readonly startedAt?: number;
    /** What is known from some time after T0 on. */
    readonly learned?: { readonly at: number; readonly firstSyn: FirstSyn };
  }

  /** When it leaves, after T0. */
  function dialedAt(
    known: FirstSyn,
    { role = 'initiator', startedAt = 0, learned }: Circumstances = {},
  ): number | undefined {
    let now = startedAt;
    let dialed: number | undefined;
    const opening = new TcpOpening({
      budget: new ProbeBudget(),
      role,
      emit: (output) => {
        if (output.type === 'dial' && output.from === 'held') dialed ??= now;
      },
      roundMs: () => 10_000,
      searchTechnique: () => 'birthday',
      firstSyn: () => (learned && now >= learned.at ? learned.firstSyn : known),
      onRefused: () => {},
    });
    const endpoint = { address: '198.51.100.1', port: 5_000 };
    opening.useHeldPort('simultaneous open', now);
    opening.add({ type: 'srflx', transport: 'tcp', endpoint, attested: true }, now);
    opening.start(0, 80, now, CONFIRM_MS);
    for (; now < 400; now++) {
      if (now === learned?.at) opening.useHeldPort('simultaneous open', now);
      opening.handleTimeout(now);
    }
    return dialed;
  }

  it('waits until the responder’s has been dropped, so that the two SYNs don’t cross', () => {
    expect(dialedAt('after the other')).toBe(CONFIRM_MS + 60);
  });

  it('waits as long where it began late, since the responder heard of it late', () => {
    expect(dialedAt('after the other', { startedAt: 50 })).toBe(50 + CONFIRM_MS + 60);
  });

  it('leaves at T0 where it has nothing to wait for', () => {
    expect(dialedAt('at once')).toBe(0);
  });

  it('waits for the second slot where a plain dial ought to do, and the initiator’s for the responder’s as well', () => {
    expect(dialedAt('after the listeners', { role: 'responder' })).toBe(250);
    expect(dialedAt('after the listeners')).toBe(250 + 60);
  });

  it('waits no longer once a NAT turns out to be in the way', () => {
    const learned = { at: 100, firstSyn: 'at once' } as const;
    expect(dialedAt('after the listeners', { learned })).toBe(100);
    expect(dialedAt('after the listeners', { learned, role: 'responder' })).toBe(100);
  });

  it('waits for the responder’s where the NAT in the way is found to drop that', () => {
    const learned = { at: 70, firstSyn: 'after the other' } as const;
    expect(dialedAt('after the listeners', { learned })).toBe(CONFIRM_MS + 60);
  });
});

it.each(['initiator', 'responder'] as const)(
  'no dial of the %s’s is under way from the held port while that listens',
  (role) => {
    const dials = new Set<string>();
    let listening = false;
    const seen = { dials: 0, turns: 0, both: 0 };
    const opening = new TcpOpening({
      budget: new ProbeBudget(),
      role,
      emit: (output) => {
        if (output.type === 'dial' && output.from === 'held') {
          dials.add(output.connection);
          seen.dials++;
        } else if (output.type === 'cancel-dial') dials.delete(output.connection);
        else if (output.type === 'listen-held' || output.type === 'stop-listening') {
          listening = output.type === 'listen-held';
          if (listening) seen.turns++;
        }
        if (listening && dials.size > 0) seen.both++;
      },
      roundMs: () => 10_000,
      searchTechnique: () => 'birthday',
      firstSyn: () => 'at once',
      onRefused: () => {},
    });
    opening.useHeldPort('simultaneous open', 0);
    opening.add(
      { type: 'srflx', transport: 'tcp', endpoint: { address: '198.51.100.1', port: 5_000 }, attested: true },
      0,
    );
    opening.start(0, 80, 0);
    for (let now = 0; now < 9_000; now++) opening.handleTimeout(now);
    expect(seen.both).toBe(0);
    expect(seen.turns).toBeGreaterThan(1);
    expect(seen.dials).toBeGreaterThan(seen.turns);
  },
);
