import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromBase32, toBase32 } from '../../src/core/base32.ts';
import { identityFromSeed, parsePeerId, publicKeyOf, verifySignature } from '../../src/core/identity.ts';

// RFC 8032 §7.1, test 1
const SEED = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex');
const PUBLIC = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';

describe('an identity', () => {
  const identity = identityFromSeed(SEED);

  it('has the public key of RFC 8032', () => {
    expect(Buffer.from(identity.publicKey).toString('hex')).toBe(PUBLIC);
    expect(identity.id).toHaveLength(52);
    expect(publicKeyOf(identity.id)).toEqual(identity.publicKey);
  });

  it('signs for one context, over parts that can not be shifted into each other', () => {
    const [a, b, ab] = [Buffer.from('a'), Buffer.from('b'), Buffer.from('ab')];
    const signature = identity.sign('test', a, b);
    expect(verifySignature(identity.id, signature, 'test', a, b)).toBe(true);
    expect(verifySignature(identity.id, signature, 'other', a, b)).toBe(false);
    expect(verifySignature(identity.id, signature, 'test', ab)).toBe(false);
    expect(verifySignature(identity.id, signature.subarray(1), 'test', a, b)).toBe(false);
  });

  it.each(['', 'abc', 'A'.repeat(52), '1'.repeat(52), 'a'.repeat(51) + 'b', 'a'.repeat(53)])(
    '%j is no peer id',
    (text) => {
      expect(() => parsePeerId(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
    },
  );
});

describe('base32', () => {
  it('reads back what it wrote, and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(fromBase32(toBase32(bytes))).toEqual(bytes);
      }),
    );
    expect(fromBase32('b')).toBeUndefined();
  });

  it('agrees with RFC 4648 §10', () => {
    expect(toBase32(Buffer.from('foobar'))).toBe('mzxw6ytboi');
  });
});
