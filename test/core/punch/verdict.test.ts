import { describe, expect, it } from 'vitest';
import { UNMEASURED, type NatProfile, type TransportProfile } from '../../../src/core/nat/behavior.ts';
import { plan } from '../../../src/core/punch/plan.ts';
import type { PathChoice } from '../../../src/core/punch/situation.ts';
import { verdictOf, type Verdict } from '../../../src/core/punch/verdict.ts';

const ALL: readonly PathChoice[] = ['udp', 'tcp', 'relay'];

const behind = (udp: Partial<TransportProfile>, tcp: Partial<TransportProfile> = udp): NatProfile => {
  const measured = { ...UNMEASURED, reachable: true, provisional: false };
  return { version: 1, udp: { ...measured, ...udp }, tcp: { ...measured, ...tcp } };
};

const dependent = {
  mapping: 'address-and-port-dependent',
  filtering: 'address-and-port-dependent',
} as const;
const random = behind({ ...dependent, allocation: { kind: 'random' } });
const counting = behind({ ...dependent, allocation: { kind: 'sequential', step: 1 } });
const BLOCKED = { reachable: false } as const;

const over6 = behind({ mapping: 'none', filtering: 'address-and-port-dependent' });
const only6: NatProfile = { ...behind(BLOCKED), ipv6: { udp: over6.udp, tcp: over6.tcp } };

/** Of a round in which only what the plan rules out was met. */
function verdict(here: NatProfile, there: NatProfile, kinds = ALL): Verdict {
  const { unreachable } = plan({ profile: here, kinds }, { profile: there, kinds: ALL });
  const obstacles = (['udp', 'tcp'] as const).flatMap((transport) => {
    const obstacle = unreachable[transport];
    return obstacle ? [{ transport, ...obstacle }] : [];
  });
  return verdictOf(obstacles, here, there);
}

describe('the verdict', () => {
  it('says what both NATs do, once for both transports, and what would make it direct', () => {
    const { code, text } = verdict(random, random, ['udp', 'relay']);
    expect(code).toBe('BOTH_UNPREDICTABLE');
    expect(text).toMatch(
      /^udp: your NAT uses another port for each destination, at random, and so does the other one; .*enabling UPnP.* would make it direct/,
    );
  });

  it('tells the two ends apart', () => {
    expect(verdict(random, counting).text).toContain(
      'your NAT uses another port for each destination, at random; the other one uses another port for each destination, counting up',
    );
  });

  it.each([
    [behind(BLOCKED, dependent), random, 'your network lets no UDP out'],
    [random, behind(BLOCKED, dependent), 'the other network lets no UDP out'],
    [behind(BLOCKED), behind(BLOCKED), 'neither network lets UDP out'],
  ])('says whose network is in the way: %#', (here, there, words) => {
    const { code, text } = verdict(here, there);
    expect(code).toBe('UDP_BLOCKED');
    expect(text).toContain(words);
  });

  it.each([
    [only6, random, 'your network lets it out over IPv6 alone, and the other one over IPv4 alone'],
    [random, only6, 'your network lets it out over IPv4 alone, and the other one over IPv6 alone'],
  ])(
    'does not call a network blocked that lets it out over the family that the other end lacks: %#',
    (here, there, words) => {
      const { code, text } = verdict(here, there);
      expect(code).toBe('NO_COMMON_FAMILY');
      expect(text).toBe(`udp and tcp: ${words}; a network with both, at either end, would make it direct`);
    },
  );

  it('leaves IPv4 out where it does not get out, and IPv6 was tried', () => {
    expect(verdict(only6, only6).obstacles).toEqual([]);
    expect(verdict(only6, { ...random, ipv6: only6.ipv6 }).obstacles).toEqual([]);
  });

  it('is about TCP where UDP was not allowed', () => {
    expect(verdict(behind(dependent, BLOCKED), random, ['tcp', 'relay']).code).toBe('TCP_BLOCKED');
  });

  it('keeps what was seen where the NATs would have allowed it', () => {
    const obstacle = { transport: 'udp', code: 'NOT_THROUGH', reason: '28 probes, 0 answered' } as const;
    expect(verdictOf([obstacle], random, random)).toEqual({
      code: 'NOT_THROUGH',
      text: 'udp: 28 probes, 0 answered',
      obstacles: [obstacle],
    });
  });

  it('is about hairpinning where both are behind one NAT and nothing came through', () => {
    const home = behind({ mapping: 'endpoint-independent', publicAddresses: ['198.51.100.1'] });
    const obstacle = { transport: 'udp', code: 'NOT_THROUGH', reason: '28 probes, 0 answered' } as const;
    expect(verdictOf([obstacle], home, home).code).toBe('NO_HAIRPIN');
  });
});
