import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { identityFromSeed, type Identity } from '../../src/core/identity.ts';
import {
  decodeOffer,
  encodeOffer,
  INTRODUCTION_VERSION,
  type Offer,
} from '../../src/core/session/introduction.ts';
import {
  encodeSuccessions,
  MAX_SUCCESSIONS_BYTES,
  readSuccessions,
  successionsTo,
} from '../../src/core/succession.ts';
import { profileOf } from './punch/nat-profile.ts';

const NOW = 1_790_000_000_000;
const seedOf = (n: number) => new Uint8Array(32).fill(n);

/** The identity that comes after `old` by its word. */
function after(old: Identity, n: number): Identity {
  const seed = seedOf(n);
  return identityFromSeed(seed, successionsTo(identityFromSeed(seed).id, old, NOW + n));
}

const first = identityFromSeed(seedOf(1));
const second = after(first, 2);
const third = after(second, 3);
const mallory = identityFromSeed(seedOf(9));

describe('a chain of successions', () => {
  it('leads from each earlier key to the one of now, and says when', () => {
    const chain = readSuccessions(encodeSuccessions(third.successions), third.id);
    expect(chain).toEqual(third.successions);
    expect(chain.map(({ from, to, time }) => [from, to, time])).toEqual([
      [first.id, second.id, NOW + 2],
      [second.id, third.id, NOW + 3],
    ]);
  });

  it('is nobody else’s, and none of it counts for a key on its way', () => {
    const bytes = encodeSuccessions(third.successions);
    for (const other of [first, second, mallory]) expect(readSuccessions(bytes, other.id)).toEqual([]);
  });

  it('has to be signed by the old key, not by the new one', () => {
    const claimed = successionsTo(mallory.id, { ...mallory, id: first.id }, NOW);
    expect(readSuccessions(encodeSuccessions(claimed), mallory.id)).toEqual([]);
    const given = successionsTo(mallory.id, first, NOW);
    expect(readSuccessions(encodeSuccessions(given), mallory.id)).toEqual(given);
  });

  it('counts as a whole: with any byte changed, cut off or too many there is none', () => {
    const bytes = encodeSuccessions(third.successions);
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const spoilt = Uint8Array.from(bytes, (byte, i) => (i === at ? byte ^ flip : byte));
        expect(readSuccessions(spoilt, third.id)).toEqual([]);
        expect(at === 0 || readSuccessions(bytes.subarray(0, at), third.id).length === 0).toBe(true);
      }),
    );
    expect(readSuccessions(new Uint8Array([...bytes, 0]), third.id)).toEqual([]);
  });

  it('that goes in a circle is none', () => {
    const [back] = successionsTo(first.id, second, NOW).slice(-1);
    const circle = encodeSuccessions([...second.successions, back!]);
    expect(readSuccessions(circle, first.id)).toEqual([]);
  });

  it('keeps its newest eight, and no more are read', () => {
    let last = first;
    for (let n = 10; n < 20; n += 1) last = after(last, n);
    expect(last.successions).toHaveLength(8);
    const bytes = encodeSuccessions(last.successions);
    expect(bytes).toHaveLength(MAX_SUCCESSIONS_BYTES);
    expect(readSuccessions(bytes, last.id)).toHaveLength(8);
    const [before] = successionsTo(last.successions[0]!.from, mallory, NOW);
    const nine = encodeSuccessions([before!, ...last.successions]);
    expect(readSuccessions(nine, last.id)).toEqual([]);
  });

  it('that anybody made up throws nothing', () => {
    const length = fc.constantFrom(0, 1, 103, 104, 208, 832, 2_000);
    fc.assert(
      fc.property(
        length.chain((n) => fc.uint8Array({ minLength: n, maxLength: n })),
        (bytes) => {
          expect(readSuccessions(bytes, first.id)).toEqual([]);
        },
      ),
    );
  });
});

describe('an offer', () => {
  const offer: Offer = {
    version: INTRODUCTION_VERSION,
    kinds: ['udp', 'tcp', 'relay'],
    candidates: [],
    profile: profileOf([], '127.0.0.1'),
    roundTripMs: 1,
  };

  it('names earlier ids where there are any', () => {
    expect(decodeOffer(encodeOffer(offer)).successions).toBeUndefined();
    const bytes = decodeOffer(encodeOffer(offer, third.successions)).successions!;
    expect(readSuccessions(bytes, third.id)).toEqual(third.successions);
  });

  it('of many candidates names the newest, so that it is still passed on', () => {
    let last = first;
    for (let n = 10; n < 20; n += 1) last = after(last, n);
    const candidates = Array.from({ length: 6 }, (_, n) => ({
      type: 'srflx' as const,
      transport: 'udp' as const,
      endpoint: { address: '2001:db8:1111:2222:3333:4444:5555:6666', port: 40_000 + n },
      attestation: { time: NOW, signature: new Uint8Array(64) },
    }));
    const bytes = encodeOffer({ ...offer, candidates }, last.successions);
    expect(bytes.length).toBeLessThanOrEqual(2_048 - 96);
    const named = readSuccessions(decodeOffer(bytes).successions!, last.id);
    expect(named.length).toBeGreaterThan(0);
    expect(named.length).toBeLessThan(8);
    expect(named).toEqual(last.successions.slice(-named.length));
  });

  it('with a chain that is too long is none', () => {
    const successions = new Uint8Array(MAX_SUCCESSIONS_BYTES + 1);
    const long = encodeOffer({ ...offer, successions });
    expect(() => decodeOffer(long)).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
  });
});
