import { describe, expect, it } from 'vitest';
import { Whereabouts } from '../../peer/whereabouts.ts';
import type { Candidate, CandidateType } from '../../src/core/punch/candidate.ts';

const at = (address: string, type: CandidateType = 'srflx', port = 1): Candidate => ({
  type,
  transport: 'udp',
  endpoint: { address, port },
});

describe('whereabouts', () => {
  it('are left when the NAT has another public address, or IPv6 another prefix', () => {
    const known = new Whereabouts([at('198.51.100.1'), at('2001:db8::1'), at('192.168.1.2', 'host')]);
    // What was seen before is remembered for a while.
    expect(known.hasMoved([at('198.51.100.2'), at('198.51.100.1'), at('2001:db8::1')])).toBe(true);
    expect(known.hasMoved([at('198.51.100.1'), at('2001:db8::2')])).toBe(true);
  });

  it('are the same with other ports, while nothing is measured, and anywhere in a pool', () => {
    const known = new Whereabouts([at('198.51.100.1')]);
    expect(known.hasMoved([at('198.51.100.1', 'mapped', 2)])).toBe(false);
    expect(known.hasMoved([at('192.168.1.3', 'host')])).toBe(false);
    expect(new Whereabouts([]).hasMoved([at('198.51.100.2')])).toBe(false);
    const pool = new Whereabouts([at('198.51.100.1'), at('198.51.100.2')]);
    expect(pool.hasMoved([at('198.51.100.3'), at('198.51.100.1')])).toBe(false);
  });
});
