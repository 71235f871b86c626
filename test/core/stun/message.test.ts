import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalAddress } from '../../../src/core/address.ts';
import { hex, utf8 } from '../../../src/core/bytes.ts';
import type { Endpoint } from '../../../src/core/endpoint.ts';
import { SallyportError } from '../../../src/core/errors.ts';
import {
  decodeStun,
  encodeStun,
  looksLikeStun,
  verifyIntegrity,
  type StunMessage,
} from '../../../src/core/stun/message.ts';

/** RFC 5769 §2.1–2.3: a request with integrity, and the IPv4 and IPv6 responses to it. */
const RFC5769 = {
  password: utf8('VOkJxbRl1RmTxUk/WvJxBt'),
  transactionId: 'b7e7a701bc34d686fa87dfae',
  request: `000100582112a442b7e7a701bc34d686fa87dfae
    802200105354554e207465737420636c69656e74 002400046e0001ff 80290008932ff9b151263b36
    000600096576746a3a68367659202020 000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
    80280004e57a3bcf`,
  ipv4Response: `0101003c2112a442b7e7a701bc34d686fa87dfae
    8022000b7465737420766563746f7220 002000080001a147e112a643
    000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004c07d4c96`,
  ipv6Response: `010100482112a442b7e7a701bc34d686fa87dfae
    8022000b7465737420766563746f7220 002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9
    00080014a382954e4be67bf11784c97c8292c275bfe3ed41 80280004c8fb0b4c`,
};

const bytesOf = (text: string) => new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'));
const id = Uint8Array.from({ length: 12 }, (_, i) => i + 1);
const key = utf8('registration key');

function failure(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('STUN messages', () => {
  it('reads the request of RFC 5769 §2.1 and its integrity', () => {
    const bytes = bytesOf(RFC5769.request);
    const message = decodeStun(bytes);
    expect(message).toMatchObject({ class: 'request', username: 'evtj:h6vY' });
    expect(hex(message.transactionId)).toBe(RFC5769.transactionId);
    expect(verifyIntegrity(bytes, RFC5769.password)).toBe(true);
    expect(verifyIntegrity(bytes, utf8('another password'))).toBe(false);
  });

  it('reads the responses of RFC 5769 §2.2 and §2.3 and their integrity', () => {
    for (const [text, address] of [
      [RFC5769.ipv4Response, '192.0.2.1'],
      [RFC5769.ipv6Response, '2001:db8:1234:5678:11:2233:4455:6677'],
    ] as const) {
      const bytes = bytesOf(text);
      expect(decodeStun(bytes)).toMatchObject({ class: 'success', mapped: { address, port: 32_853 } });
      expect(verifyIntegrity(bytes, RFC5769.password)).toBe(true);
    }
  });

  it('reads back everything it writes', () => {
    fc.assert(
      fc.property(message(), fc.boolean(), fc.boolean(), fc.nat(300), (input, keyed, fingerprint, padTo) => {
        const bytes = encodeStun(input, { key: keyed ? key : undefined, fingerprint, padTo });
        expect(bytes.length).toBeGreaterThanOrEqual(padTo);
        expect(looksLikeStun(bytes)).toBe(true);
        expect(verifyIntegrity(bytes, key)).toBe(keyed);
        expect(decodeStun(bytes)).toEqual({ useCandidate: false, ...input });
      }),
      { numRuns: 500 },
    );
  });

  it('pads a request to exactly the size asked for', () => {
    for (const padTo of [100, 164, 200]) {
      const request: StunMessage = { class: 'request', transactionId: id, username: 'a'.repeat(16) };
      expect(encodeStun(request, { key, fingerprint: true, padTo }).length).toBe(padTo);
    }
  });

  it('copies what it reads, and leaves a Buffer as it was', () => {
    const signature = new Uint8Array(64).fill(9);
    const attestation = { time: 5, signature };
    const slab = Buffer.from(
      encodeStun({ class: 'success', transactionId: id, attestation }, { key, fingerprint: true }),
    );
    const before = hex(slab);
    expect(verifyIntegrity(slab, key)).toBe(true);
    expect(hex(slab)).toBe(before);
    const message = decodeStun(slab);
    slab.fill(0);
    expect(message).toMatchObject({ transactionId: id, attestation });
  });

  it('reads each error code as it was written', () => {
    for (const errorCode of [300, 400, 401, 420, 438, 487, 500]) {
      expect(decodeStun(encodeStun({ class: 'error', transactionId: id, errorCode })).errorCode).toBe(
        errorCode,
      );
    }
  });

  it('passes over attributes it need not understand and refuses those it must', () => {
    const bare = encodeStun({ class: 'request', transactionId: id });
    const withAttribute = (type: number) => {
      const bytes = new Uint8Array([...bare, type >> 8, type & 0xff, 0, 1, 7, 0, 0, 0]);
      bytes[3] = 8;
      return bytes;
    };
    expect(decodeStun(withAttribute(0xff77)).class).toBe('request');
    expect(failure(() => decodeStun(withAttribute(0x0027)))).toMatchObject({ code: 'PROTOCOL_ERROR' });
  });

  it('does not believe what follows MESSAGE-INTEGRITY', () => {
    const honest = encodeStun({ class: 'request', transactionId: id }, { key });
    const bytes = new Uint8Array([...honest, 0x00, 0x25, 0, 0]);
    bytes[3]! += 4;
    expect(verifyIntegrity(bytes, key)).toBe(true);
    expect(decodeStun(bytes).useCandidate).toBe(false);
  });

  it('refuses any single flipped bit before FINGERPRINT', () => {
    const bytes = encodeStun(
      { class: 'request', transactionId: id, username: 'someone' },
      { key, fingerprint: true },
    );
    for (let bit = 0; bit < (bytes.length - 8) * 8; bit++) {
      const mutated = bytes.slice();
      mutated[bit >> 3]! ^= 1 << (bit & 7);
      expect(verifyIntegrity(mutated, key) && failure(() => decodeStun(mutated)) === undefined).toBe(false);
    }
  });

  it('never throws anything untyped on foreign bytes', () => {
    const attempt = (bytes: Uint8Array) => {
      const thrown = failure(() => decodeStun(bytes));
      expect(thrown === undefined || thrown instanceof SallyportError).toBe(true);
      expect(failure(() => [looksLikeStun(bytes), verifyIntegrity(bytes, key)])).toBe(undefined);
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), attempt), { numRuns: 2_000 });
    fc.assert(
      fc.property(fc.array(attribute(), { maxLength: 6 }), (parts) => attempt(framed(parts.flat()))),
      { numRuns: 5_000 },
    );
  });
});

/** A message whose header fits and whose attributes are of known types with arbitrary values. */
function framed(attributes: number[]): Uint8Array {
  const bytes = Uint8Array.from([0x01, 0x01, 0, 0, 0x21, 0x12, 0xa4, 0x42, ...id, ...attributes]);
  bytes[2] = attributes.length >> 8;
  bytes[3] = attributes.length & 0xff;
  return bytes;
}

function attribute(): fc.Arbitrary<number[]> {
  const types = [
    1, 3, 6, 8, 9, 0x0a, 0x14, 0x15, 0x1c, 0x20, 0x24, 0x25, 0x26, 0x8028, 0x802b, 0x802c, 0xc0a1,
  ];
  return fc
    .tuple(fc.constantFrom(...types, 0xff00), fc.uint8Array({ maxLength: 80 }))
    .map(([type, value]) => {
      const padding = Array.from({ length: -value.length & 3 }, () => 0);
      return [type >> 8, type & 0xff, 0, value.length, ...value, ...padding];
    });
}

function message(): fc.Arbitrary<StunMessage> {
  return fc
    .record(
      {
        class: fc.constantFrom('request', 'success', 'indication', 'error'),
        transactionId: fc.uint8Array({ minLength: 12, maxLength: 12 }),
        username: fc.string({ minLength: 1, maxLength: 64 }),
        mapped: endpoint(),
        origin: endpoint(),
        other: endpoint(),
        change: fc.record({ address: fc.boolean(), port: fc.boolean() }),
        useCandidate: fc.constant(true),
        errorCode: fc.integer({ min: 300, max: 699 }),
        attestation: fc.record({
          time: fc.nat(2 ** 41),
          signature: fc.uint8Array({ minLength: 64, maxLength: 64 }),
        }),
      },
      { requiredKeys: ['class', 'transactionId'] },
    )
    .map((input) => {
      if (input.class === 'error') return input;
      const { errorCode: _, ...rest } = input;
      return rest;
    });
}

function endpoint(): fc.Arbitrary<Endpoint> {
  return fc.record({
    address: fc.oneof(fc.ipV4(), fc.ipV6()).map(canonicalAddress),
    port: fc.integer({ min: 1, max: 65_535 }),
  });
}
