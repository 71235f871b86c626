import { describe, expect, it } from 'vitest';
import { PROOF_BYTES, type Meeting } from './scenario.ts';
import { shortfallOf, shortfallUnderLoss } from './verdict.ts';

const ALL = PROOF_BYTES + 1_000;
const NONE = { udp: 0, tcp: 0 };
const HALF = { udp: ALL / 2, tcp: ALL / 2 };

const meeting: Meeting = {
  a: 'udp',
  b: 'udp',
  direct: true,
  technique: 'simultaneous probes',
  reason: undefined,
  firstByteMs: 1,
  directMs: 1,
  confirmedMs: 1,
  bothDirectMs: 1,
  confirmedBy: 'simultaneous probes',
  packets: [1, 1],
  kinds: ['udp', 'tcp'],
  counted: { sent: { udp: ALL, tcp: 0 }, received: { udp: ALL, tcp: 0 } },
  steady: true,
};

describe('the proof by the NAT’s counters', () => {
  it.each<[string, Partial<Meeting>]>([
    ['on the path that both name', {}],
    [
      'on the path that each names',
      { b: 'tcp', counted: { sent: { udp: ALL, tcp: 0 }, received: { udp: 0, tcp: ALL } } },
    ],
    [
      'on both paths, of which one was left meanwhile',
      { steady: false, counted: { sent: HALF, received: HALF } },
    ],
  ])('holds where the bytes were seen %s', (_, seen) => {
    expect(shortfallOf({ ...meeting, ...seen }, 'direct')).toBeUndefined();
  });

  it.each<[string, Partial<Meeting>]>([
    ['nowhere', { counted: { sent: NONE, received: NONE } }],
    ['nowhere, an end having moved', { steady: false, counted: { sent: NONE, received: NONE } }],
    ['one way only', { steady: false, counted: { sent: HALF, received: NONE } }],
    [
      'on a path that nobody names',
      { counted: { sent: { udp: 0, tcp: ALL }, received: { udp: 0, tcp: ALL } } },
    ],
    ['half on each although nobody moved', { counted: { sent: HALF, received: HALF } }],
  ])('fails where the bytes were seen %s', (_, seen) => {
    expect(shortfallOf({ ...meeting, ...seen }, 'direct')).toContain('the NAT counted');
  });

  it('fails where they went by UDP and TCP was asked for, moved or not', () => {
    const byTcp = { ...meeting, a: 'tcp', b: 'tcp', steady: false };
    expect(shortfallOf(byTcp, 'tcp')).toContain('the NAT counted');
  });
});

describe('the verdict under heavy loss', () => {
  it('asks that both ends have sent directly within fifteen seconds, wherever they send by now', () => {
    const relayed = { ...meeting, a: 'relay-h1', direct: false };
    expect(shortfallUnderLoss({ ...relayed, bothDirectMs: 15_000 })).toBeUndefined();
    expect(shortfallUnderLoss({ ...relayed, bothDirectMs: 15_001 })).toContain('after 15001 ms');
    expect(shortfallUnderLoss({ ...relayed, bothDirectMs: undefined })).toContain('not direct');
  });
});
