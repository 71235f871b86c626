import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Traversal } from '../../peer/traversal.ts';
import { planWords } from '../../peer/commands/plan.ts';
import { prospectOf } from '../../peer/prospect.ts';
import { UNMEASURED, type NatProfile, type TransportProfile } from '../../src/core/nat/behavior.ts';
import { freshIdentity, Meeting, sentBy } from './meeting.ts';

let meeting: Meeting;
beforeEach(async () => {
  meeting = await Meeting.start();
});
afterEach(() => meeting.close());

describe('planning for a peer', () => {
  it('takes one answer of it: no session begins at either end, and nothing is punched', async () => {
    const punched = vi.spyOn(Traversal.prototype, 'handle');
    const bob = await meeting.peer('bob', ['any']);
    const alice = await meeting.peer('alice');
    const sent = sentBy(bob);
    const prospect = await alice.plan(bob.id);
    expect(prospect).toMatchObject({ peer: bob.id, expected: 'udp', kinds: ['udp', 'tcp', 'relay'] });
    expect(prospect.there.udp.reachable).toBe(true);
    expect(sent.map(({ t }) => t)).toEqual(['answer']);
    expect([...alice.sessions, ...bob.sessions]).toEqual([]);
    expect(punched).not.toHaveBeenCalled();
  });

  it('is refused like a session: to nobody, to a peer that does not allow us, and when no longer wanted', async () => {
    const bob = await meeting.peer('bob');
    const alice = await meeting.peer('alice');
    await expect(alice.plan(freshIdentity().id)).rejects.toMatchObject({ code: 'PEER_OFFLINE' });
    await expect(alice.plan(bob.id)).rejects.toMatchObject({ code: 'NOT_AUTHORIZED' });
    await expect(alice.plan(alice.id)).rejects.toMatchObject({ code: 'USAGE' });
    const signal = AbortSignal.abort();
    await expect(alice.plan(bob.id, { signal })).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('tells of no NAT where only the relay is asked for', async () => {
    const bob = await meeting.peer('bob', ['any']);
    const alice = await meeting.peer('alice');
    const prospect = await alice.plan(bob.id, { paths: ['relay'] });
    expect(prospect).toMatchObject({ expected: 'relay', probability: 0, stages: [] });
    expect(prospect.there.udp.reachable).toBeUndefined();
  });
});

describe('what is to be expected', () => {
  const behind = (fields: Partial<TransportProfile>): NatProfile => {
    const measured: TransportProfile = { ...UNMEASURED, reachable: true, provisional: false, ...fields };
    return { version: 1, udp: measured, tcp: measured };
  };
  const random = behind({
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
    allocation: { kind: 'random' },
  });
  const between = (here: NatProfile, there: NatProfile, kinds: readonly ('udp' | 'tcp' | 'relay')[]) =>
    prospectOf(freshIdentity().id, {
      here: { profile: here, kinds },
      there: { profile: there, kinds: ['udp', 'tcp', 'relay'] },
      roundTripMs: 80,
    });

  it('says of a transport that goes direct over IPv6 that it is IPv4 that does not get through', () => {
    const firewalled = behind({ mapping: 'none', filtering: 'address-and-port-dependent' });
    const dual = { ...random, ipv6: firewalled };
    const text = planWords(between(dual, dual, ['udp', 'tcp', 'relay']));
    expect(text).toContain('direct by UDP, simultaneous probes');
    expect(text).toContain('UDP over IPv4 does not get through (BOTH_UNPREDICTABLE)');
    expect(text).toContain('TCP over IPv4 does not get through');
    expect(planWords(between(random, random, ['udp', 'relay']))).toContain('UDP does not get through');
  });

  it('is the relay, with the code and the remedy, where both NATs can not be foreseen', () => {
    const { expected, obstacles } = between(random, random, ['udp', 'relay']);
    expect(expected).toBe('relay');
    expect(obstacles[0]).toMatchObject({ transport: 'udp', code: 'BOTH_UNPREDICTABLE' });
    expect(obstacles[0]?.remedy).toBeDefined();
  });

  it('is what worked last, before what is likelier', () => {
    const peer = freshIdentity().id;
    const open = behind({ mapping: 'endpoint-independent', filtering: 'address-and-port-dependent' });
    const acquaintance = {
      here: { profile: open, kinds: ['udp', 'tcp', 'relay'] },
      there: { profile: open, kinds: ['udp', 'tcp', 'relay'] },
      roundTripMs: 80,
    } as const;
    const technique = 'simultaneous open';
    const success = { peer, here: '', there: '', transport: 'tcp', technique, at: 1_000 } as const;
    expect(prospectOf(peer, acquaintance).expected).toBe('udp');
    const { expected, stages, worked } = prospectOf(peer, acquaintance, success, 61_000);
    expect(expected).toBe('tcp');
    expect(stages[0]).toMatchObject({ transport: 'tcp', technique });
    expect(stages.slice(1).map(({ probability }) => probability)).toEqual(
      stages
        .slice(1)
        .map(({ probability }) => probability)
        .toSorted((a, b) => b - a),
    );
    expect(worked).toEqual({ transport: 'tcp', technique, secondsAgo: 60 });
  });

  it('is nothing where the relay is forbidden as well', () => {
    expect(between(random, random, ['udp']).expected).toBe('none');
  });
});
