import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encode } from '../../../src/core/codec.ts';
import { profileFields } from '../../../src/core/nat/profile-schema.ts';
import { decodeAnswer, decodeOffer, decodeUpdate } from '../../../src/core/session/introduction.ts';
import { profileOf } from '../punch/nat-profile.ts';
import { failTyped } from '../typed-failures.ts';

const endpoint = { address: '192.0.2.1', port: 4_000 };
const candidate = { type: 'srflx', transport: 'udp', endpoint };
const profile = profileFields(profileOf([], '192.0.2.1'));
const offer = { version: 1, kinds: ['udp'], candidates: [candidate], profile, roundTripMs: 20 };
const start = { at: 1_000, roundTripMs: 20 };
const refused = expect.objectContaining({ code: 'PROTOCOL_ERROR' });

describe('what a peer says of itself', () => {
  it('is read as it was written', () => {
    expect(decodeOffer(encode(offer))).toMatchObject({ kinds: ['udp'], candidates: [candidate] });
    const answer = { ...offer, start };
    expect(decodeAnswer(encode(answer))).toMatchObject({ start });
    expect(decodeUpdate(encode({}))).toEqual({});
  });

  it.each([
    ['twenty-one candidates', { candidates: Array.from({ length: 21 }, () => candidate) }],
    [
      'an address that is a name',
      { candidates: [{ ...candidate, endpoint: { ...endpoint, address: 'a.b' } }] },
    ],
    ['port 0', { candidates: [{ ...candidate, endpoint: { ...endpoint, port: 0 } }] }],
    ['a port between two', { candidates: [{ ...candidate, endpoint: { ...endpoint, port: 1.5 } }] }],
    ['a relay as a candidate', { candidates: [{ ...candidate, type: 'relay' }] }],
    [
      'an attestation of no time',
      { candidates: [{ ...candidate, attestation: { time: Infinity, signature: new Uint8Array(64) } }] },
    ],
    ['a round trip of a minute', { roundTripMs: 60_000 }],
    ['a round trip into the past', { roundTripMs: -1 }],
    ['another kind of path', { kinds: ['smoke'] }],
    ['more kinds than there are', { kinds: ['udp', 'udp', 'udp', 'udp'] }],
  ])('is refused with %s', (_, spoilt) => {
    expect(() => decodeOffer(encode({ ...offer, ...spoilt }))).toThrow(refused);
  });

  it.each([
    ['no start', {}],
    ['a start at no time', { start: { ...start, at: Infinity } }],
    ['a start before time began', { start: { ...start, at: -1 } }],
    ['a round trip of a minute', { start: { ...start, roundTripMs: 60_000 } }],
  ])('is refused as an answer with %s', (_, spoilt) => {
    expect(() => decodeAnswer(encode({ ...offer, ...spoilt }))).toThrow(refused);
  });

  it.each([0, -1, 0.5, 1_000_001, 2 ** 53])('is refused as an update with round %d', (number) => {
    expect(() => decodeUpdate(encode({ round: { number, start } }))).toThrow(refused);
  });

  it('names addresses in the one spelling that filters judge', () => {
    const spelled = { ...candidate, endpoint: { address: '0:0:0:0:0:FFFF:7f00:1', port: 4_000 } };
    const [read] = decodeOffer(encode({ ...offer, candidates: [spelled] })).candidates;
    expect(read!.endpoint.address).toBe('127.0.0.1');
  });

  it('is refused typed whatever the bytes, most of them as they should be or none', () => {
    const valid = [
      encode(offer),
      encode({ ...offer, start }),
      encode({ candidates: [candidate], profile, round: { number: 1, start } }),
    ];
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 });
    const spoilt = fc.tuple(fc.constantFrom(...valid), flips).map(([bytes, places]) => {
      const copy = Uint8Array.from(bytes);
      for (const [at, value] of places) copy[at % copy.length] = value;
      return copy;
    });
    const bytes = fc.oneof(spoilt, fc.uint8Array({ maxLength: 400 }));
    expect(() => failTyped(bytes, decodeOffer, decodeAnswer, decodeUpdate)).not.toThrow();
  });
});
