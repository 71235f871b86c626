import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { PunchAgent } from '../../../src/core/punch/agent.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import type { PunchInput, PunchOutput, RemoteCandidate } from '../../../src/core/punch/events.ts';
import { PROBE_BYTES, ProbeCodec } from '../../../src/core/punch/probe.ts';

const here = new Uint8Array(32).fill(1);
const there = new Uint8Array(32).fill(2);
const username = 'session-of-a-and';
const peerAddress = { address: '198.51.100.20', port: 40_000 };
const random = (count: number) => new Uint8Array(randomBytes(count));

/** The peer's end of the keys: what it writes verifies at the agent. */
const peer = new ProbeCodec({ username, sendKey: there, receiveKey: here }, random);
const stranger = new ProbeCodec({ username, sendKey: random(32), receiveKey: here }, random);

const mapped: RemoteCandidate = { type: 'srflx', transport: 'udp', endpoint: peerAddress, attested: true };

function agentOf(role: 'initiator' | 'responder' = 'initiator') {
  const credentials = { username, sendKey: here, receiveKey: there };
  const agent = new PunchAgent({ role, credentials, kinds: ['udp', 'relay'] });
  const outputs: PunchOutput[] = [];
  const drain = () => {
    for (let output = agent.poll(); output; output = agent.poll()) outputs.push(output);
  };
  return {
    agent,
    outputs,
    handle: (input: PunchInput, now = 0) => {
      agent.handle(input, now);
      drain();
    },
    /** Lets every deadline up to `until` pass; returns when what was sent. */
    run: (until: number) => {
      const sends: { at: number; to: string; bytes: Uint8Array }[] = [];
      while (agent.deadline !== undefined && agent.deadline <= until) {
        const at = agent.deadline;
        const before = outputs.length;
        agent.handleTimeout(at);
        drain();
        for (const output of outputs.slice(before)) {
          if (output.type === 'send') sends.push({ at, to: output.to.address, bytes: output.bytes });
        }
      }
      return sends;
    },
    get sends() {
      return outputs.filter((output) => output.type === 'send');
    },
  };
}

function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

function datagram(bytes: Uint8Array, from = peerAddress): PunchInput {
  return { type: 'datagram', socket: 0, bytes, from };
}

describe('probes', () => {
  it('are answered once per transaction and source, with as many bytes as came', () => {
    const { handle, sends, outputs } = agentOf();
    const { bytes } = peer.request(false);
    handle(datagram(bytes));
    handle(datagram(bytes));
    const sent = outputs.filter((output) => output.type === 'send');
    expect(sent).toHaveLength(2); // an answer and one check
    expect(sent.every((output) => output.bytes.length === PROBE_BYTES && bytes.length === PROBE_BYTES)).toBe(
      true,
    );
    expect(sends).toHaveLength(0);
  });

  it('are answered once where the mapping that they come from is an address of an inner network, too', () => {
    const end = agentOf();
    const endpoint = { address: '192.168.1.20', port: 40_000 };
    end.handle({ type: 'remote', candidates: [{ ...mapped, endpoint }] });
    end.handle(datagram(peer.request(false).bytes, endpoint));
    expect(end.sends).toHaveLength(2); // an answer and one check
  });

  it('under another key, cut short or made up have no effect', () => {
    const end = agentOf();
    const { bytes } = peer.request(true);
    end.handle(datagram(stranger.request(true).bytes));
    end.handle(datagram(bytes.subarray(0, 40)));
    end.handle(datagram(Uint8Array.from(bytes, (byte, i) => (i === 30 ? byte ^ 1 : byte))));
    for (let i = 0; i < 500; i++) end.handle(datagram(random(i % 80)));
    expect(end.outputs).toHaveLength(0);
  });

  it('that come back to their sender are not the peer', () => {
    const end = agentOf();
    end.handle({ type: 'remote', candidates: [mapped] });
    end.handle({ type: 'start', at: 0, roundTripMs: 80 });
    const [first] = end.run(0);
    const before = end.outputs.length;
    end.handle(datagram(first!.bytes), 1);
    expect(end.outputs).toHaveLength(before);
  });

  it('replayed from many addresses reach at most 16 of them, with two packets each', () => {
    const end = agentOf();
    const { bytes } = peer.request(false);
    for (let host = 1; host < 200; host++) {
      end.handle(datagram(bytes, { address: `192.0.2.${host}`, port: 5_000 }));
    }
    const perVictim = groupBy(end.sends, ({ to }) => to.address);
    expect(perVictim.size).toBe(16);
    for (const sent of perVictim.values()) expect(sent).toHaveLength(2);
  });

  it('are told apart on a shared socket by username and by transaction', () => {
    const end = agentOf();
    const other = new ProbeCodec({ username: 'another', sendKey: there, receiveKey: here }, random);
    expect(end.agent.owns(peer.request(false).bytes)).toBe(true);
    expect(end.agent.owns(other.request(false).bytes)).toBe(false);
    expect(end.agent.owns(random(68))).toBe(false);
    end.handle({ type: 'remote', candidates: [mapped] });
    end.handle({ type: 'start', at: 0, roundTripMs: 80 });
    const sent = end.run(0)[0]!.bytes;
    const transaction = Buffer.from(sent.subarray(8, 20)).toString('hex');
    expect(end.agent.owns(peer.answer(transaction, false))).toBe(true);
    expect(end.agent.owns(peer.answer('00'.repeat(12), false))).toBe(false);
  });
});

describe('an agent', () => {
  it('sends nothing before the start but one primer to each attested address', () => {
    const end = agentOf();
    const host: RemoteCandidate = {
      type: 'host',
      transport: 'udp',
      endpoint: { address: '192.168.1.7', port: 40_000 },
      attested: false,
    };
    end.handle({ type: 'remote', candidates: [mapped, host] });
    end.handle({ type: 'prime' });
    end.handle({ type: 'prime' });
    expect(end.run(60_000)).toHaveLength(0);
    expect(end.sends).toMatchObject([{ to: peerAddress, ttl: 2 }]);
  });

  it('can be made to send a third party ten probes at most, 100 ms apart', () => {
    const end = agentOf();
    const victims = Array.from({ length: 40 }, (_, i): RemoteCandidate => ({
      type: i % 2 ? 'host' : 'srflx',
      transport: 'udp',
      endpoint: { address: `192.0.2.${i + 1}`, port: 5_000 },
      attested: false,
    }));
    end.handle({ type: 'remote', candidates: victims });
    end.handle({ type: 'start', at: 0, roundTripMs: 80 });
    end.handle({ type: 'remote', candidates: victims }, 50);
    const perVictim = groupBy(end.run(60_000), ({ to }) => to);
    expect(perVictim.size).toBe(20);
    for (const sends of perVictim.values()) {
      expect(sends.length).toBeLessThanOrEqual(10);
      for (let i = 1; i < sends.length; i++) {
        expect(sends[i]!.at - sends[i - 1]!.at).toBeGreaterThanOrEqual(100);
      }
    }
  });

  it('ends with a reason when nothing answers, and says so once', () => {
    const end = agentOf();
    end.handle({ type: 'remote', candidates: [mapped] });
    end.handle({ type: 'start', at: 100, roundTripMs: 80 });
    end.run(60_000);
    const failures = end.outputs.filter((output) => output.type === 'failed');
    expect(failures.map(({ transport }) => transport).sort()).toEqual(['tcp', 'udp']);
    expect(end.outputs.filter((output) => output.type === 'done')).toHaveLength(1);
    expect(end.agent.deadline).toBeUndefined();
  });

  it.each([
    [true, 'at once, having said so first, where it was attested'],
    [false, 'only once it answers, where nobody attested it'],
  ])('settles on the address from which the peer says that it has settled (%s): %s', (attested) => {
    const end = agentOf('responder');
    end.handle({ type: 'remote', candidates: [{ ...mapped, attested }] });
    end.handle({ type: 'start', at: 0, roundTripMs: 80 });
    end.run(0);
    const before = end.outputs.length;
    end.handle(datagram(peer.request(true).bytes), 40);
    const said = end.outputs.slice(before);
    const path = said.findIndex(({ type }) => type === 'path');
    expect(path >= 0).toBe(attested);
    if (!attested) return;
    const probes = said.slice(0, path).flatMap((output) => (output.type === 'send' ? [output.bytes] : []));
    expect(probes.map((bytes) => peer.read(bytes))).toContainEqual(
      expect.objectContaining({ kind: 'request', settled: true }),
    );
  });

  it('goes on answering after it has settled, until it is stopped', () => {
    const end = agentOf('responder');
    end.handle({ type: 'remote', candidates: [mapped] });
    end.handle({ type: 'start', at: 0, roundTripMs: 80 });
    const probe = end.run(0)[0]!.bytes;
    end.handle(datagram(peer.answer(Buffer.from(probe.subarray(8, 20)).toString('hex'), false)), 40);
    end.run(60_000);
    const before = end.sends.length;
    end.handle(datagram(peer.request(true).bytes), 70_000);
    expect(end.sends).toHaveLength(before + 1);
  });

  it('checks other pairs until both ends have settled on the same one', () => {
    const end = agentOf('responder');
    const others = [21, 22, 23].map((last) => ({ address: `198.51.100.${last}`, port: 40_000 }));
    end.handle({ type: 'remote', candidates: [mapped] });
    end.handle({ type: 'start', at: 0, roundTripMs: 80 });
    const probe = end.run(0)[0]!.bytes;
    end.handle(datagram(peer.answer(Buffer.from(probe.subarray(8, 20)).toString('hex'), false)), 40);
    const sentTo = ({ address }: { address: string }) => end.sends.filter(({ to }) => to.address === address);
    end.handle(datagram(peer.request(false).bytes, others[0]), 50);
    end.handle(datagram(peer.request(true).bytes), 50);
    end.handle(datagram(peer.request(false).bytes, others[1]), 60);
    end.handle(datagram(peer.request(true).bytes, others[2]), 60);
    expect(sentTo(others[0]!)).toHaveLength(2); // an answer and one check
    expect(sentTo(others[1]!)).toHaveLength(1); // an answer
    expect(sentTo(others[2]!)).toHaveLength(2); // the peer has changed its mind
  });

  it('follows the nomination when it had settled on another pair', () => {
    const end = agentOf('responder');
    const other = { address: '198.51.100.21', port: 40_000 };
    end.handle({ type: 'remote', candidates: [mapped, { ...mapped, endpoint: other }] });
    end.handle({ type: 'start', at: 0, roundTripMs: 80 });
    const probes = end.run(0);
    const answer = (to: string) => {
      const { bytes } = probes.find((probe) => probe.to === to)!;
      return peer.answer(Buffer.from(bytes.subarray(8, 20)).toString('hex'), false);
    };
    end.handle(datagram(answer(peerAddress.address)), 80);
    end.handle(datagram(answer(other.address), other), 90);
    end.handle(datagram(peer.request(true).bytes, other), 100);
    expect(end.outputs.filter(({ type }) => type === 'path')).toMatchObject([{ remote: peerAddress }]);
    expect(end.outputs.filter(({ type }) => type === 'moved')).toMatchObject([{ remote: other }]);
  });
});

describe('the candidates of a peer with many interfaces', () => {
  const host = (index: number): RemoteCandidate => ({
    type: 'host',
    transport: 'udp',
    endpoint: { address: `10.8.${index}.1`, port: 40_000 },
    attested: false,
  });
  const mapping = (index: number): RemoteCandidate => ({
    ...mapped,
    endpoint: { address: `198.51.100.${index}`, port: 40_000 },
  });
  const addressed = (end: ReturnType<typeof agentOf>) => {
    end.handle({ type: 'start', at: 0, roundTripMs: 50 });
    return new Set(end.run(9_000).map(({ to }) => to));
  };

  it('do not crowd out where it was seen, though that comes last', () => {
    const end = agentOf();
    const candidates = Array.from({ length: LIMITS.candidates }, (_, index) => host(index));
    end.handle({ type: 'remote', candidates });
    end.handle({ type: 'remote', candidates: [mapped] });
    expect(addressed(end)).toContain(peerAddress.address);
  });

  it.each([
    ['named', host],
    ['attested', mapping],
  ])('are tried up to a bound where they are %s', (_what, candidate) => {
    const end = agentOf();
    for (let index = 0; index < 2 * LIMITS.candidates; index++)
      end.handle({ type: 'remote', candidates: [candidate(index)] });
    const tried = addressed(end).size;
    expect(tried).toBeGreaterThan(0);
    expect(tried).toBeLessThanOrEqual(LIMITS.candidates);
  });
});
