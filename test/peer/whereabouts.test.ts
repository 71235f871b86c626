import { describe, expect, it } from 'vitest';
import { Whereabouts } from '../../peer/whereabouts.ts';
import type { Candidate } from '../../src/core/punch/candidate.ts';

const at = (address: string, other: Partial<Candidate> = {}): Candidate => ({
  type: 'srflx',
  transport: 'udp',
  endpoint: { address, port: 1 },
  ...other,
});

const tcp = { transport: 'tcp' } as const;

describe('whereabouts', () => {
  it('are left when the NAT has another public address, or IPv6 another prefix', () => {
    const known = new Whereabouts([
      at('198.51.100.1'),
      at('2001:db8::1'),
      at('192.168.1.2', { type: 'host' }),
    ]);
    expect(known.hasMoved([at('198.51.100.2'), at('2001:db8::1')])).toBe(true);
    expect(known.hasMoved([at('198.51.100.1'), at('2001:db8::2')])).toBe(true);
  });

  it('are left once, by the transport that notices first', () => {
    const before = [at('198.51.100.1'), at('198.51.100.1', tcp)];
    const between = [at('198.51.100.2'), at('198.51.100.1', tcp)];
    const after = [at('198.51.100.2'), at('198.51.100.2', tcp)];
    expect(new Whereabouts(before).hasMoved(between)).toBe(true);
    expect(new Whereabouts(between).hasMoved(after)).toBe(false);
  });

  it('are the same with other ports, while nothing is measured, and anywhere in a pool', () => {
    const known = new Whereabouts([at('198.51.100.1')]);
    expect(known.hasMoved([at('198.51.100.1', { endpoint: { address: '198.51.100.1', port: 2 } })])).toBe(
      false,
    );
    expect(known.hasMoved([at('203.0.113.9', { type: 'mapped' }), at('198.51.100.1')])).toBe(false);
    expect(known.hasMoved([])).toBe(false);
    expect(known.hasMoved([at('198.51.100.2', tcp)])).toBe(false);
    expect(new Whereabouts([]).hasMoved([at('198.51.100.2')])).toBe(false);
    const pool = new Whereabouts([at('198.51.100.1'), at('198.51.100.2')]);
    expect(pool.hasMoved([at('198.51.100.3'), at('198.51.100.1')])).toBe(false);
  });
});
