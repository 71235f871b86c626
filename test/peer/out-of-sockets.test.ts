import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openFreshPort } from '../../peer/fresh-port.ts';
import type { Network } from '../../peer/network.ts';
import { Traversal } from '../../peer/traversal.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { freshIdentity } from './meeting.ts';
import { FloodBudget } from '../../src/core/punch/flood-budget.ts';
import { ProbeBudget } from '../../src/core/punch/probe-budget.ts';
import { SessionKeys } from '../../src/core/session/keys.ts';
import { UdpSocket } from '../../src/net/udx.ts';
import { UNMEASURED, type NatProfile, type TransportProfile } from '../../src/core/nat/behavior.ts';
import { ManualClock } from './manual-clock.ts';

const keys = SessionKeys.first({ splitKeys: new Uint8Array(64).fill(1), hash: new Uint8Array(64).fill(2) });

const behind = (udp: Partial<TransportProfile>): NatProfile => ({
  version: 1,
  udp: {
    ...UNMEASURED,
    reachable: true,
    filtering: 'address-and-port-dependent',
    provisional: false,
    ...udp,
  },
  tcp: { ...UNMEASURED, reachable: false },
});

const open = UdpSocket.open.bind(UdpSocket);
let left: number;
beforeEach(() => {
  vi.spyOn(UdpSocket, 'open').mockImplementation((at) => {
    if (left-- > 0) return open(at);
    throw new SallyportError('UNSUPPORTED', 'too many open files');
  });
});
afterEach(() => vi.restoreAllMocks());

describe('a process that may open no more files', () => {
  it('holds a birthday with the sockets that it can have', async () => {
    left = 3;
    const clock = new ManualClock();
    const sent = vi.spyOn(UdpSocket.prototype, 'send');
    const network = {
      onLoopback: true,
      stun: undefined,
      floods: new FloodBudget(),
      probes: new ProbeBudget(),
      own: () => () => {},
      udpOf: () => undefined,
    } as unknown as Network;
    const traversal = new Traversal({
      signal: new AbortController().signal,
      role: 'initiator',
      peer: freshIdentity().id,
      keys,
      kinds: ['udp'],
      network,
      clock,
      round: 0,
      onPath: () => {},
      tellPort: () => {},
      tellSample: () => {},
      onTrace: () => {},
      onObstacle: () => {},
      onDone: () => {},
    });
    const easy = behind({ mapping: 'endpoint-independent' });
    const hard = behind({ mapping: 'address-and-port-dependent', allocation: { kind: 'random' } });
    const endpoint = { address: '127.0.0.1', port: 9 };
    const mapping = { type: 'srflx', transport: 'udp', endpoint, attested: true } as const;
    traversal.handle({ type: 'local', profile: hard });
    traversal.handle({ type: 'remote', profile: easy, candidates: [mapping] });
    traversal.start(clock.now(), 10, 0);
    await clock.pass(500);
    expect(sent).toHaveBeenCalledTimes(3);
    traversal.stop();
  });

  it('makes no path before an older one ends', async () => {
    left = 0;
    const server = { address: '127.0.0.1', port: 9 };
    const credentials = { username: 'alice', key: new Uint8Array(16) };
    const stun = { servers: { udp: server, tcp: server }, credentials };
    expect(await openFreshPort(stun, new ManualClock())).toBeUndefined();
  });
});
