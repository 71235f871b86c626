import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { UNMEASURED, type NatProfile } from '../../../src/core/nat/behavior.ts';
import { PunchAgent } from '../../../src/core/punch/agent.ts';
import type { PunchOutput, RemoteCandidate } from '../../../src/core/punch/events.ts';
import { ProbeCodec } from '../../../src/core/punch/probe.ts';

const NAT = {
  ...UNMEASURED,
  reachable: true,
  provisional: false,
  mapping: 'endpoint-independent',
  filtering: 'address-and-port-dependent',
} as const;
const EASY: NatProfile = { version: 1, udp: NAT, tcp: NAT };
const PEER: RemoteCandidate = {
  type: 'srflx',
  transport: 'udp',
  endpoint: { address: '198.51.100.20', port: 40_000 },
  attested: true,
};

interface Search {
  readonly startsAt?: number;
  /** No timer goes off while this is false. */
  readonly runs?: (now: number) => boolean;
  readonly candidates?: readonly RemoteCandidate[];
}

/** An agent for T0 = 0 that nobody answers, and what it has done at which instant. */
function searching({ startsAt = 0, runs = () => true, candidates = [PEER] }: Search) {
  const done: { at: number; output: PunchOutput }[] = [];
  const agent = new PunchAgent({
    role: 'initiator',
    kinds: ['udp'],
    credentials: { username: 'u', sendKey: new Uint8Array(32), receiveKey: new Uint8Array(32).fill(1) },
  });
  const drain = (at: number) => {
    for (let output = agent.poll(); output; output = agent.poll()) done.push({ at, output });
  };
  agent.handle({ type: 'local', profile: EASY }, startsAt);
  agent.handle({ type: 'remote', profile: EASY, kinds: ['udp'], candidates }, startsAt);
  agent.handle({ type: 'start', at: 0, roundTripMs: 80 }, startsAt);
  drain(startsAt);
  for (let now = startsAt; now < 40_000; now += 5) {
    if (!runs(now)) continue;
    for (let turns = 0; turns < 100 && (agent.deadline ?? Infinity) <= now; turns++) agent.handleTimeout(now);
    drain(now);
  }
  const sends = done.filter(({ output }) => output.type === 'send').map(({ at }) => at);
  const failedAt = done.find(({ output }) => output.type === 'failed' && output.transport === 'udp')?.at;
  return { sends, failedAt, outputs: done.map(({ output }) => output) };
}

it('has as much time and as many probes where it hears of T0 long after that', () => {
  const onTime = searching({});
  const late = searching({ startsAt: 9_000 });
  expect(onTime.failedAt).toBe(10_000);
  expect(late.failedAt).toBe(19_000);
  expect(late.sends.length).toBe(onTime.sends.length);
  expect(late.sends.filter((at) => at === 9_000)).toHaveLength(1);
});

it('does not give up for having been asleep, nor send all at once then', () => {
  const { sends, failedAt } = searching({ runs: (now) => now < 100 || now >= 12_000 });
  expect(failedAt).toBeGreaterThan(20_000);
  expect(sends.filter((at) => at === 12_000)).toHaveLength(1);
});

it('keeps the ten probes to an address that nobody vouched for apart, however late it comes to begin', () => {
  const nearby: RemoteCandidate = {
    ...PEER,
    type: 'host',
    endpoint: { address: '192.168.1.9', port: 5_000 },
    attested: false,
  };
  const { sends } = searching({ startsAt: 5_000, candidates: [nearby] });
  expect(sends).toHaveLength(10);
  expect(new Set(sends).size).toBe(10);
});

it('ends at a responder whose first answer came just before it met the peer over a socket of its own', () => {
  const [here, there] = [new Uint8Array(32), new Uint8Array(32).fill(1)];
  const random = (count: number) => new Uint8Array(randomBytes(count));
  const peer = new ProbeCodec({ username: 'u', sendKey: there, receiveKey: here }, random);
  const credentials = { username: 'u', sendKey: here, receiveKey: there };
  const agent = new PunchAgent({ role: 'responder', kinds: ['udp'], credentials });
  const outputs: PunchOutput[] = [];
  const drain = () => {
    for (let output = agent.poll(); output; output = agent.poll()) outputs.push(output);
  };
  agent.handle({ type: 'local', profile: EASY }, 0);
  agent.handle({ type: 'remote', profile: EASY, kinds: ['udp'], candidates: [PEER] }, 0);
  agent.handle({ type: 'start', at: 0, roundTripMs: 80 }, 0);
  agent.handleTimeout(0);
  drain();
  const probe = outputs.find((output) => output.type === 'send')!.bytes;
  const from = PEER.endpoint;
  const answer = peer.answer(Buffer.from(probe.subarray(8, 20)).toString('hex'), false);
  agent.handle({ type: 'datagram', socket: 0, bytes: answer, from }, 10);
  agent.handle({ type: 'datagram', socket: 7, bytes: peer.request(false).bytes, from }, 20);
  for (let now = 20; now < 40_000; now += 5) {
    if ((agent.deadline ?? Infinity) <= now) agent.handleTimeout(now);
    drain();
  }
  expect(outputs).toContainEqual(expect.objectContaining({ type: 'failed', transport: 'udp' }));
  expect(agent.deadline).toBeUndefined();
});

it('a search that heard of no address says so, instead of counting probes that nobody could send', () => {
  const { outputs } = searching({ candidates: [] });
  const reason = 'simultaneous probes did not get through: no usable address of the other end came';
  expect(outputs).toContainEqual({ type: 'failed', transport: 'udp', code: 'NOT_THROUGH', reason });
  const text = expect.stringContaining('no direct path') as string;
  expect(outputs).not.toContainEqual(expect.objectContaining({ type: 'trace', transport: 'tcp', text }));
});
