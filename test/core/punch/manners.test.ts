import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../src/core/endpoint.ts';
import { UNMEASURED, type NatProfile, type TransportProfile } from '../../../src/core/nat/behavior.ts';
import { PunchAgent } from '../../../src/core/punch/agent.ts';
import type { Transport } from '../../../src/core/punch/candidate.ts';
import type { PunchInput, PunchOutput, RemoteCandidate } from '../../../src/core/punch/events.ts';
import { FloodBudget } from '../../../src/core/punch/flood-budget.ts';
import type { SessionRole } from '../../../src/core/session/role.ts';

const apd = 'address-and-port-dependent';
const easy = { mapping: 'endpoint-independent', filtering: apd } as const;
const counting = { mapping: apd, filtering: apd, allocation: { kind: 'sequential', step: 1 } } as const;
const random = { mapping: apd, filtering: apd, allocation: { kind: 'random' } } as const;

/** The same NAT for both transports, `udp` apart. */
function profileOf(nat: Partial<TransportProfile>, udp: Partial<TransportProfile> = {}): NatProfile {
  const measured = { ...UNMEASURED, reachable: true, provisional: false, ...nat };
  return { version: 1, udp: { ...measured, ...udp }, tcp: measured };
}

const NO_UDP = { reachable: false };
const PEER: Endpoint = { address: '198.51.100.20', port: 40_000 };

function mapping(transport: Transport, attested: boolean, port = PEER.port, address = PEER.address) {
  return { type: 'srflx', transport, endpoint: { address, port }, attested } as const;
}

interface Meeting {
  local: NatProfile;
  remote: NatProfile;
  candidates: RemoteCandidate[];
  role?: SessionRole;
  floods?: FloodBudget;
}

/** An agent whose peer never answers, left alone for a whole round. Every dial is refused at once if `refuse`. */
function round({ local, remote, candidates, role = 'initiator', floods }: Meeting, refuse = false) {
  const agent = new PunchAgent({
    role,
    kinds: ['udp', 'tcp', 'relay'],
    credentials: { username: 'u', sendKey: new Uint8Array(32), receiveKey: new Uint8Array(32).fill(1) },
    stun: {
      servers: { udp: { address: '203.0.113.1', port: 3_478 }, tcp: { address: '203.0.113.1', port: 3_478 } },
      credentials: { username: 'registration', key: new Uint8Array(32) },
    },
    floods,
  });
  const outputs: PunchOutput[] = [];
  const drain = (now: number) => {
    for (let output = agent.poll(); output; output = agent.poll()) {
      outputs.push(output);
      if (output.type !== 'dial' || !refuse) continue;
      agent.handle({ type: 'dial-failed', connection: output.connection, code: 'ECONNREFUSED' }, now);
    }
  };
  const handle = (input: PunchInput, now = 0) => {
    agent.handle(input, now);
    drain(now);
  };
  handle({ type: 'local', profile: local });
  handle({ type: 'remote', profile: remote, candidates });
  handle({ type: 'start', at: 0, roundTripMs: 80 });
  const run = (until: number) => {
    for (let at = agent.deadline; at !== undefined && at <= until; at = agent.deadline) {
      agent.handleTimeout(at);
      drain(at);
    }
  };
  const toPeer = () =>
    outputs.filter(
      (output) => (output.type === 'send' || output.type === 'dial') && output.to.address !== '203.0.113.1',
    ) as Extract<PunchOutput, { type: 'send' | 'dial' }>[];
  return { agent, outputs, handle, run, toPeer };
}

const ends = [
  ['aims at the peer’s many ports', profileOf(easy, NO_UDP), profileOf(random)],
  ['has the many ports', profileOf(random), profileOf(easy, NO_UDP)],
] as const;

describe('a TCP birthday', () => {
  it.each(ends)('goes to an attested address, 2,048 dials at most: the end that %s', (_, local, remote) => {
    for (const refuse of [false, true]) {
      const end = round({ local, remote, candidates: [mapping('tcp', true)] }, refuse);
      end.run(60_000);
      const dials = end.toPeer().length;
      expect(dials).toBeGreaterThanOrEqual(256);
      expect(dials).toBeLessThanOrEqual(2_048);
    }
  });

  it.each(ends)('does not go where only the peer says that it is: the end that %s', (_, local, remote) => {
    const end = round({ local, remote, candidates: [mapping('tcp', false)] }, true);
    end.run(60_000);
    expect(end.toPeer().length).toBeLessThanOrEqual(10);
  });

  it('leaves no dial pending for longer than its kernel stays silent', () => {
    const [, local, remote] = ends[0];
    const end = round({ local, remote, candidates: [mapping('tcp', true)] });
    end.run(1_500);
    const pending = new Set<string>();
    for (const output of end.outputs) {
      if (output.type === 'dial') pending.add(output.connection);
      if (output.type === 'cancel-dial') pending.delete(output.connection);
    }
    expect(pending.size).toBeLessThan(1_000);
    end.run(60_000);
    const dialed = end.outputs.filter(({ type }) => type === 'dial').length;
    expect(end.outputs.filter(({ type }) => type === 'cancel-dial')).toHaveLength(dialed);
  });

  it('is said in the trace, and why it has to wait', () => {
    const floods = new FloodBudget();
    const [, local, remote] = ends[0];
    const texts = () => {
      const end = round({ local, remote, candidates: [mapping('tcp', true)], floods });
      end.run(60_000);
      end.agent.handle({ type: 'stop' }, 60_000);
      return end.outputs.flatMap((output) => (output.type === 'trace' ? output.text : []));
    };
    expect(texts().join('\n')).toMatch(/TCP dials, at most once an hour, to up to 1650 ports/);
    expect(texts().join('\n')).toMatch(/waits: (this address had all|the last TCP birthday)/);
  });
});

describe('a whole round', () => {
  it.each([
    ['random', random],
    ['random, over a pool of addresses', { ...random, publicAddresses: [PEER.address, '198.51.100.21'] }],
    ['counting', counting],
  ])('of an end whose NAT is %s opens 512 flows at most by each transport', (_, nat) => {
    for (const udp of [{}, NO_UDP]) {
      const candidates = [mapping('udp', true), mapping('tcp', true)];
      const end = round({ local: profileOf(nat), remote: profileOf(easy, udp), candidates }, true);
      end.run(60_000);
      const flows = (type: 'send' | 'dial') =>
        new Set(
          end
            .toPeer()
            .filter((output) => output.type === type)
            .map((output) => `${output.type === 'send' ? output.socket : output.from} ${output.to.port}`),
        );
      expect(flows('send').size).toBeLessThanOrEqual(512);
      expect(flows('dial').size).toBeLessThanOrEqual(512);
    }
  });

  it('between two NATs that can not meet sends nothing beyond checks of named addresses', () => {
    const candidates = [mapping('udp', true), mapping('tcp', true)];
    const end = round({ local: profileOf(random), remote: profileOf(counting), candidates });
    end.run(60_000);
    expect(end.toPeer()).toHaveLength(0);
  });

  it('is over with `stop`: nothing that comes later has an effect', () => {
    const end = round({
      local: profileOf(easy),
      remote: profileOf(counting),
      candidates: [mapping('udp', true), mapping('tcp', true)],
    });
    end.handle({ type: 'stop' }, 100);
    const before = end.outputs.length;
    for (const transport of ['udp', 'tcp'] as const) {
      end.handle({ type: 'remote', candidates: [mapping(transport, true, 50_000)] }, 200);
    }
    end.run(60_000);
    expect(end.outputs.slice(before).filter(({ type }) => type === 'send' || type === 'dial')).toEqual([]);
  });
});

describe('a sample of the peer’s port counter', () => {
  const meeting = (): Meeting => ({
    local: profileOf(easy),
    remote: profileOf(counting),
    candidates: [mapping('udp', true), mapping('tcp', true)],
  });

  const sample = (transport: 'udp' | 'tcp', port: number, seenAt: number, address?: string) => {
    return { transport, endpoint: mapping(transport, true, port, address).endpoint, seenAt };
  };

  it.each(['udp', 'tcp'] as const)('is followed four times at most, replayed or not (%s)', (transport) => {
    const end = round(meeting());
    for (let n = 0; n < 100; n++) {
      end.handle({ type: 'remote', samples: [sample(transport, 50_000 + (n % 50), n)] }, n);
    }
    end.run(2_000);
    const aimed = end.toPeer().filter(({ to }) => to.port > 50_000);
    expect(aimed.length).toBeGreaterThan(0);
    expect(aimed.length).toBeLessThanOrEqual(4 * 3 * 32);
  });

  it.each([
    ['of another address', sample('tcp', 50_000, 10, '198.51.100.99')],
    ['that is old', sample('tcp', 50_000, -1_000)],
  ])('%s is not followed', (_, seen) => {
    const end = round(meeting());
    end.handle({ type: 'remote', samples: [seen] }, 10);
    end.run(2_000); // then comes the birthday, to any port
    expect(end.toPeer().filter(({ to }) => to.port > 50_000)).toEqual([]);
  });
});
