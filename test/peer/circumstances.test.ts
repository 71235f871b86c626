import { describe, expect, it } from 'vitest';
import { Circumstances } from '../../peer/circumstances.ts';
import { UNMEASURED, type NatProfile } from '../../src/core/nat/behavior.ts';
import type { Candidate } from '../../src/core/punch/candidate.ts';

const measured: NatProfile = {
  version: 1,
  udp: { ...UNMEASURED, reachable: true, mapping: 'endpoint-independent', publicAddresses: ['198.51.100.1'] },
  tcp: UNMEASURED,
};
const host = (address: string, port: number): Candidate => ({
  type: 'host',
  transport: 'udp',
  endpoint: { address, port },
});

describe('circumstances', () => {
  it('have changed with a NAT’s behaviour, a public address or a new address of the host', () => {
    const known = new Circumstances();
    expect(known.learn('here', { profile: measured, candidates: [host('192.168.1.2', 1)] })).toBe(true);
    const moved = { ...measured, udp: { ...measured.udp, publicAddresses: ['198.51.100.2'] } };
    expect(known.learn('here', { profile: moved })).toBe(true);
    expect(known.learn('here', { candidates: [host('10.0.0.2', 1)] })).toBe(true);
  });

  it('have not with a lifetime, a version, another port, or the same said again', () => {
    const known = new Circumstances();
    known.learn('there', { profile: measured, candidates: [host('192.168.1.2', 1)] });
    const again = { ...measured, version: 9, udp: { ...measured.udp, lifetimeSeconds: 30 } };
    expect(known.learn('there', { profile: again, candidates: [host('192.168.1.2', 2)] })).toBe(false);
  });

  it('are told once, and again as far as they are other ones', () => {
    const known = new Circumstances();
    expect(known.lines(['udp'])).toEqual([]);
    known.learn('there', { profile: measured });
    expect(known.lines(['udp'])).toMatchObject([
      { stage: 'nat', text: expect.stringMatching(/^there, the NAT keeps one port/) as string },
    ]);
    expect(known.lines(['udp'])).toEqual([]);
  });
});
