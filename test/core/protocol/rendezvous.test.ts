import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SallyportError } from '../../../src/core/errors.ts';
import { decodeToNode, decodeToRendezvous, encodeMessage } from '../../../src/core/protocol/rendezvous.ts';

const session = new Uint8Array(16).fill(1);
const id = new Uint8Array(32).fill(2);

describe('signalling messages', () => {
  it('are read as they were written, unknown fields ignored', () => {
    const offer = { t: 'offer' as const, session, to: id, noise: new Uint8Array(100) };
    const decoded = decodeToRendezvous(encodeMessage({ ...offer, future: 1 } as never));
    expect(decoded).toMatchObject({ t: 'offer' });
    expect(decoded).not.toHaveProperty('future');
  });

  it('are refused when longer than a control message may be', () => {
    expect(() => decodeToRendezvous(new Uint8Array(16 * 1024 + 1))).toThrow(
      expect.objectContaining({ code: 'LIMIT' }),
    );
  });

  it('are refused typed whatever the bytes', () => {
    const bomb = Buffer.from('dd00ffffff'.repeat(20), 'hex');
    const samples = fc.oneof(fc.uint8Array({ maxLength: 400 }), fc.constant(new Uint8Array(bomb)));
    fc.assert(
      fc.property(samples, (bytes) => {
        expect(failureOf(() => decodeToNode(bytes))).toBeOneOf([undefined, 'LIMIT', 'PROTOCOL_ERROR']);
        expect(failureOf(() => decodeToRendezvous(bytes))).toBeOneOf([undefined, 'LIMIT', 'PROTOCOL_ERROR']);
      }),
      { numRuns: 2_000 },
    );
  });

  it('of the wrong shape name the field', () => {
    const message = encodeMessage({
      t: 'offer',
      session: new Uint8Array(3),
      to: id,
      noise: new Uint8Array(),
    } as never);
    expect(() => decodeToRendezvous(message)).toThrow(/session expected 16 bytes/);
  });
});

/** `undefined` where nothing is thrown. */
function failureOf(read: () => unknown): unknown {
  try {
    read();
    return undefined;
  } catch (thrown) {
    return thrown instanceof SallyportError ? thrown.code : thrown;
  }
}
