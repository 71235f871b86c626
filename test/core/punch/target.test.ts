import { describe, expect, it } from 'vitest';
import type { Candidate, CandidateType } from '../../../src/core/punch/candidate.ts';
import { refusalOf } from '../../../src/core/punch/target.ts';

const rules = { allowLoopback: false, own: [] };

function candidate(address: string, port = 40_000, type: CandidateType = 'host'): Candidate {
  return { type, transport: 'udp', endpoint: { address, port } };
}

describe('what a peer may make us send to', () => {
  it.each([
    '0.0.0.0',
    '127.0.0.1',
    '169.254.1.1',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    'fe80::1',
    'ff02::1',
    '::ffff:127.0.0.1',
    '::127.0.0.1',
    '2002:7f00:1::',
    '64:ff9b::7f00:1',
    '64:ff9b::e000:1',
  ])('%s is refused in any spelling', (address) => {
    expect(refusalOf(candidate(address), false, rules)).toMatch(/address/);
    expect(refusalOf(candidate(address), true, rules)).toMatch(/address/);
  });

  it('port 0 is refused, and UDP ports below 1024 where nobody vouched for them', () => {
    expect(refusalOf(candidate('198.51.100.1', 0), true, rules)).toBe('port 0');
    expect(refusalOf(candidate('198.51.100.1', 53), false, rules)).toBe('a port below 1024');
    expect(refusalOf(candidate('198.51.100.1', 53), true, rules)).toBeUndefined();
  });

  it('private addresses count as host candidates only', () => {
    expect(refusalOf(candidate('192.168.1.2'), false, rules)).toBeUndefined();
    expect(refusalOf(candidate('10.0.0.1', 40_000, 'srflx'), false, rules)).toMatch(/private/);
    expect(refusalOf(candidate('10.0.0.1', 40_000, 'srflx'), true, rules)).toBeUndefined();
  });

  it('our own endpoints are refused, and loopback is allowed where we are on it ourselves', () => {
    const own = candidate('127.0.0.1', 41_000);
    const onLoopback = { allowLoopback: true, own: [own] };
    expect(refusalOf(own, false, onLoopback)).toBe('an address of our own');
    expect(refusalOf(candidate('127.0.0.1', 41_001), false, onLoopback)).toBeUndefined();
  });
});
