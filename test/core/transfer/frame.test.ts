import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat } from '../../../src/core/bytes.ts';
import {
  bytesHeader,
  MAX_BYTES_FRAME,
  messageFrame,
  TransferDecoder,
  type TransferFrame,
} from '../../../src/core/transfer/frame.ts';
import type { TransferMessage } from '../../../src/core/transfer/message.ts';
import { failTyped } from '../typed-failures.ts';

const index = fc.nat();
const sha256 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const message: fc.Arbitrary<TransferMessage> = fc.oneof(
  fc.record({
    t: fc.constant('entry' as const),
    index,
    path: fc.array(fc.string({ unit: 'grapheme', maxLength: 40 }), { minLength: 1, maxLength: 8 }),
    kind: fc.constantFrom('file' as const, 'folder' as const),
    size: fc.maxSafeNat(),
    mode: fc.nat(0o777),
    modified: fc.maxSafeNat(),
  }),
  fc.record({ t: fc.constant('have' as const), index, offset: fc.maxSafeNat(), sha256 }),
  fc.record({ t: fc.constant('exists' as const), index }),
  fc.record({ t: fc.constant('compare' as const), index, sha256 }),
  fc.record({ t: fc.constant('end' as const), index, sha256 }),
  fc.record({ t: fc.constant('failed' as const), index, code: fc.string(), message: fc.string() }),
  fc.constant({ t: 'finish' as const }),
);
/** A message, or bytes of a file. */
const sent = fc.array(fc.oneof(message, fc.uint8Array({ minLength: 1, maxLength: 2_000 })), {
  maxLength: 20,
});

/** What a decoder makes of these bytes in pieces of these sizes; bytes of a file joined up to the next message. */
function decoded(bytes: Uint8Array, sizes: readonly number[]): (TransferMessage | Uint8Array)[] {
  const decoder = new TransferDecoder();
  const frames: TransferFrame[] = [];
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const size = sizes[n % sizes.length] ?? bytes.length;
    frames.push(...decoder.push(bytes.subarray(at, at + size)));
    at += size;
  }
  return joined(frames.map((frame) => (frame.type === 'message' ? frame.message : frame.bytes)));
}

function joined(parts: readonly (TransferMessage | Uint8Array)[]): (TransferMessage | Uint8Array)[] {
  return parts.reduce<(TransferMessage | Uint8Array)[]>((all, part) => {
    const last = all.at(-1);
    if (part instanceof Uint8Array && last instanceof Uint8Array) {
      return [...all.slice(0, -1), concat(last, part)];
    }
    return [...all, part];
  }, []);
}

describe('the frames of a transfer', () => {
  it('come out as they went in, however the stream cuts them', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 });
    fc.assert(
      fc.property(sent, sizes, (parts, sizes) => {
        const wire = parts.map((part) =>
          part instanceof Uint8Array ? concat(bytesHeader(part.length), part) : messageFrame(part),
        );
        expect(decoded(concat(...wire), sizes)).toEqual(joined(parts));
      }),
    );
  });

  it('throw nothing untyped, whatever the bytes', () => {
    const read = (bytes: Uint8Array) => decoded(bytes, [7]);
    expect(() => failTyped(fc.uint8Array({ maxLength: 300 }), read)).not.toThrow();
  });

  it('are refused by their header alone when they are too long', () => {
    const decoder = () => new TransferDecoder();
    expect(() => [...decoder().push(bytesHeader(MAX_BYTES_FRAME + 1))]).toThrow(/too long/);
    expect(() => [...decoder().push(Uint8Array.of(1, 0, 1, 0, 0))]).toThrow(/too long/);
  });
});
