import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { familyOf } from '../../../src/core/endpoint.ts';
import { UNMEASURED, type NatProfile, type TransportProfile } from '../../../src/core/nat/behavior.ts';
import { PunchAgent } from '../../../src/core/punch/agent.ts';
import type { PunchInput, PunchOutput, RemoteCandidate } from '../../../src/core/punch/events.ts';
import { plan } from '../../../src/core/punch/plan.ts';
import { ProbeCodec } from '../../../src/core/punch/probe.ts';

const [here, there] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
const username = 'session-of-a-and';
const random = (count: number) => new Uint8Array(randomBytes(count));
const peer = new ProbeCodec({ username, sendKey: there, receiveKey: here }, random);

const measured = (fields: Partial<TransportProfile>): TransportProfile => ({
  ...UNMEASURED,
  reachable: true,
  filtering: 'address-and-port-dependent',
  provisional: false,
  ...fields,
});
const both = (nat: TransportProfile) => ({ udp: nat, tcp: nat });
const hard = both(measured({ mapping: 'address-and-port-dependent', allocation: { kind: 'random' } }));
const easy = both(measured({ mapping: 'endpoint-independent' }));
const firewall = both(measured({ mapping: 'none' }));

const over4 = { address: '198.51.100.20', port: 40_000 };
const over6 = { address: '2001:db8:b::2', port: 40_000 };
const srflx = (endpoint: typeof over4, transport: 'udp' | 'tcp' = 'udp'): RemoteCandidate => ({
  type: 'srflx',
  transport,
  endpoint,
  attested: true,
});

function meeting(local: NatProfile, remote: NatProfile, candidates: RemoteCandidate[]) {
  const kinds = ['udp', 'tcp', 'relay'] as const;
  const agent = new PunchAgent({
    role: 'initiator',
    kinds,
    credentials: { username, sendKey: here, receiveKey: there },
  });
  const outputs: PunchOutput[] = [];
  const drain = () => {
    for (let output = agent.poll(); output; output = agent.poll()) outputs.push(output);
  };
  const handle = (input: PunchInput, now: number) => {
    agent.handle(input, now);
    drain();
  };
  handle({ type: 'local', profile: local, candidates: [] }, 0);
  handle({ type: 'remote', profile: remote, kinds, candidates }, 0);
  handle({ type: 'start', at: 0, roundTripMs: 80 }, 0);
  const run = (until: number) => {
    while (agent.deadline !== undefined && agent.deadline <= until) {
      agent.handleTimeout(agent.deadline);
      drain();
    }
  };
  const of = <Type extends PunchOutput['type']>(type: Type) =>
    outputs.filter((output): output is Extract<PunchOutput, { type: Type }> => output.type === type);
  return { handle, run, of };
}

describe('two families', () => {
  const version = 1;

  it('are planned apart: IPv6 goes direct whatever the NATs for IPv4 do', () => {
    const kinds = ['udp', 'tcp', 'relay'] as const;
    const situation = { profile: { version, ...hard, ipv6: firewall }, kinds };
    const { stages, unreachable } = plan(situation, situation);
    const direct = stages.filter(({ technique }) => technique !== 'local addresses');
    expect(direct.map(({ technique, ipv6 }) => [technique, ipv6])).toEqual([
      ['simultaneous probes', true],
      ['simultaneous open', true],
    ]);
    expect(Object.keys(unreachable)).toEqual(['udp', 'tcp']);
    const without = { profile: { version, ...hard }, kinds };
    expect(plan(situation, without).stages.some(({ ipv6 }) => ipv6)).toBe(false);
  });

  it('probe each the mappings that their own plan uses', () => {
    const profile = { version, ...hard, ipv6: firewall };
    const { run, of } = meeting(profile, profile, [srflx(over4), srflx(over6)]);
    run(1_000);
    expect(new Set(of('send').map(({ to }) => to.address))).toEqual(new Set([over6.address]));
  });

  it('settle on the address that answers, and name it as IPv6', () => {
    const profile = { version, ...hard, ipv6: firewall };
    const { handle, run, of } = meeting(profile, profile, [srflx(over6)]);
    run(0);
    const request = of('send')[0]!;
    const { transaction } = new ProbeCodec({ username, sendKey: there, receiveKey: here }, random).read(
      request.bytes,
    )!;
    handle({ type: 'datagram', socket: 0, bytes: peer.answer(transaction, false), from: over6 }, 80);
    expect(of('path')).toMatchObject([
      { remote: over6, socket: 0, technique: 'simultaneous probes', lan: false },
    ]);
  });

  it('keep to ten slow probes for an IPv6 address that only the peer names', () => {
    const host: RemoteCandidate = { type: 'host', transport: 'udp', endpoint: over6, attested: false };
    const { run, of } = meeting({ version, ...hard }, { version, ...hard }, [host]);
    run(20_000);
    expect(of('send').length).toBeLessThanOrEqual(10);
    expect(of('send').length).toBeGreaterThan(3);
  });

  it('never flood over IPv6: only a mapping over IPv4 is searched', () => {
    const [local, remote] = [
      { version, ...easy, ipv6: hard },
      { version, ...hard, ipv6: hard },
    ];
    const { run, of } = meeting(local, remote, [srflx(over6)]);
    run(20_000);
    expect(of('send')).toHaveLength(0);
    const searched = meeting(local, remote, [srflx(over6), srflx(over4)]);
    searched.run(5_000);
    expect(searched.of('send').length).toBeGreaterThan(1_000);
    expect(searched.of('send').every(({ to }) => familyOf(to) === 4)).toBe(true);
  });

  it('dial each from a held port of its own, and end together once one is secured', () => {
    const profile = { version, ...easy, ipv6: firewall };
    const { handle, run, of } = meeting(profile, profile, [srflx(over4, 'tcp'), srflx(over6, 'tcp')]);
    run(100);
    const dials = of('dial').filter(({ from }) => from === 'held');
    expect(dials.map(({ to }) => to.address).toSorted()).toEqual([over4.address, over6.address]);
    const [dial4, dial6] = [over4, over6].map((to) => dials.find((dial) => dial.to.address === to.address)!);
    expect(dial4!.connection).not.toBe(dial6!.connection);
    const local = { address: '2001:db8:a::2', port: 41_000 };
    handle({ type: 'dialed', connection: dial6!.connection, local, remote: over6 }, 140);
    expect(of('path').filter(({ transport }) => transport === 'tcp')).toHaveLength(1);
    handle({ type: 'secured', connection: dial6!.connection }, 160);
    expect(of('cancel-dial').map(({ connection }) => connection)).toEqual([dial4!.connection]);
    run(20_000);
    expect(of('failed').filter(({ transport }) => transport === 'tcp')).toHaveLength(0);
  });
});
