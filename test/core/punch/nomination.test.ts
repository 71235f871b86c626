import { describe, expect, it } from 'vitest';
import type { CandidateType } from '../../../src/core/punch/candidate.ts';
import { Nomination } from '../../../src/core/punch/nomination.ts';
import { CandidatePair } from '../../../src/core/punch/pair.ts';

const T0 = 1_000;

function pair(type: CandidateType, { socket = 0, valid = true } = {}): CandidatePair {
  const made = new CandidatePair(socket, { address: '198.51.100.7', port: 4_000 + socket }, type, true);
  made.valid = valid;
  return made;
}

function nominationOf(role: 'initiator' | 'responder'): Nomination {
  const nomination = new Nomination(role);
  nomination.begin(T0);
  return nomination;
}

describe('the pair that is used', () => {
  it('is a host pair at once, and else the best of those that answer within 30 ms', () => {
    const [host, far] = [pair('host'), pair('srflx')];
    expect(nominationOf('responder').settle([far, host], T0)).toBe(host);
    const nomination = nominationOf('initiator');
    expect(nomination.settle([far], T0 + 10)).toBeUndefined();
    expect(nomination.deadline).toBe(T0 + 30);
    const better = pair('prflx');
    expect(nomination.settle([far, better], T0 + 30)).toBe(better);
    expect(nomination.deadline).toBeUndefined();
  });

  it('stays, whatever better one answers later', () => {
    const nomination = nominationOf('initiator');
    const far = pair('srflx');
    nomination.settle([far], T0 + 30);
    expect(nomination.settle([far, pair('host')], T0 + 40)).toBeUndefined();
    expect(nomination.settled).toBe(far);
  });

  it('is, at the responder, the one that the initiator has settled on, once that works', () => {
    const nomination = nominationOf('responder');
    const [ours, theirs] = [pair('host'), pair('srflx', { valid: false })];
    nomination.settle([ours, theirs], T0);
    nomination.hear(theirs);
    expect(nomination.settle([ours, theirs], T0 + 1)).toBeUndefined();
    expect(nomination.agree(theirs)).toBe(false);
    theirs.valid = true;
    expect(nomination.settle([ours, theirs], T0 + 2)).toBe(theirs);
    expect(nomination.agree(theirs)).toBe(true);
  });

  it('is, at the initiator, its own whatever the responder has settled on', () => {
    const nomination = nominationOf('initiator');
    const [ours, theirs] = [pair('host'), pair('srflx')];
    nomination.settle([ours, theirs], T0);
    nomination.hear(theirs);
    expect(nomination.settle([ours, theirs], T0 + 40)).toBeUndefined();
    expect(nomination.agree(theirs)).toBe(false);
  });

  it('is told to a responder with several sockets, which can not know which is meant', () => {
    const nomination = nominationOf('responder');
    const found = pair('prflx', { socket: 7 });
    expect(nomination.settle([found], T0 + 100)).toBeUndefined();
    nomination.hear(found);
    expect(nomination.settle([found], T0 + 100)).toBe(found);
  });

  it('is not waited for any more by a responder that has come to have several sockets', () => {
    const nomination = nominationOf('responder');
    const [far, found] = [pair('srflx'), pair('prflx', { socket: 7, valid: false })];
    expect(nomination.settle([far], T0 + 10)).toBeUndefined();
    expect(nomination.deadline).toBe(T0 + 30);
    expect(nomination.settle([far, found], T0 + 30)).toBeUndefined();
    expect(nomination.deadline).toBeUndefined();
  });

  it('may be named before it has answered where it was searched for, and has a second for that', () => {
    const nomination = nominationOf('initiator');
    const [found, other] = [pair('prflx', { valid: false }), pair('srflx')];
    nomination.nominateEarly(found, T0 + 100);
    nomination.nominateEarly(other, T0 + 110);
    expect([nomination.isOurs(found), nomination.isOurs(other)]).toEqual([true, false]);
    expect(nomination.settle([found, other], T0 + 200)).toBeUndefined();
    expect(nomination.deadline).toBe(T0 + 1_100);
    expect(nomination.settle([found, other], T0 + 1_100)).toBe(other);
    expect(nomination.isOurs(found)).toBe(false);
  });
});
