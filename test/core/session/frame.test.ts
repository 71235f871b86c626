import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SallyportError } from '../../../src/core/errors.ts';
import { FrameDecoder } from '../../../src/core/session/decoder.ts';
import { encodeHeader, FrameType, MAX_FRAME_PAYLOAD } from '../../../src/core/session/frame.ts';
import {
  decodeAttachment,
  decodeGoaway,
  decodeReset,
  decodeWindow,
  encodeAttachment,
  encodeGoaway,
  encodeReset,
  encodeWindow,
} from '../../../src/core/session/payload.ts';
import { pattern } from './pair.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

interface Seen {
  type: number;
  stream: number;
  sequence: number;
  payload: string;
}

/** Decodes the chunks and joins the slices of each DATA frame. */
function decode(chunks: readonly Uint8Array[]): Seen[] {
  const seen: Seen[] = [];
  const decoder = new FrameDecoder({
    frame: ({ type, stream, sequence }, payload) => {
      seen.push({ type, stream, sequence, payload: hex(payload) });
    },
    data: ({ type, stream, sequence }, offset, slice) => {
      if (offset === 0) seen.push({ type, stream, sequence, payload: '' });
      const last = seen.at(-1)!;
      expect(last.payload.length / 2).toBe(offset);
      last.payload += hex(slice);
    },
  });
  for (const chunk of chunks) decoder.push(chunk);
  return seen;
}

function cut(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let at = 0;
  for (const size of sizes) {
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  chunks.push(bytes.subarray(at));
  return chunks;
}

/** `frames`, or the code of a typed failure; anything else is thrown on. */
function outcome(chunks: readonly Uint8Array[]): string {
  try {
    decode(chunks);
    return 'frames';
  } catch (error) {
    if (error instanceof SallyportError) return error.code;
    throw error;
  }
}

describe('frames on the wire', () => {
  it('have the header that frame.ts draws', () => {
    expect(hex(encodeHeader(FrameType.DATA, 0x01fedc, 0x89abcdef, 2 ** 40 + 5))).toBe(
      '0201fedc89abcdef0000010000000005',
    );
    expect(hex(encodeHeader(FrameType.ACK, 0, 0, 2 ** 53 - 1))).toBe('4100000000000000001fffffffffffff');
  });

  it('carry their fields at fixed places', () => {
    const sessionId = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
    const attachment = encodeAttachment({ role: 'responder', epoch: 258, sessionId });
    expect(hex(attachment)).toBe('0101000000000102000102030405060708090a0b0c0d0e0f');
    expect(decodeAttachment(attachment)).toEqual({ role: 'responder', epoch: 258, sessionId });
    expect(hex(encodeWindow(2 ** 33))).toBe('0000000200000000');
    expect(hex(encodeReset({ finalOffset: 7, code: 'LIMIT', message: 'no' }))).toBe(
      '000000000000000700036e6f',
    );
    expect(hex(encodeGoaway({ code: undefined, message: 'é' }))).toBe('0000c3a9');
  });

  it('read back what was written', () => {
    expect(decodeWindow(encodeWindow(12_345_678_901))).toBe(12_345_678_901);
    const reset = { finalOffset: 99, code: 'TARGET_REFUSED', message: 'connection refused' } as const;
    expect(decodeReset(encodeReset(reset))).toEqual(reset);
  });

  it('cut a long message between characters', () => {
    const { message } = decodeGoaway(encodeGoaway({ code: 'LIMIT', message: 'é'.repeat(400) }));
    expect(message).toBe('é'.repeat(256));
  });

  it('read an unknown code as STREAM_RESET and ignore bytes after the fields', () => {
    expect(decodeGoaway(Buffer.from('fffe', 'hex')).code).toBe('STREAM_RESET');
    expect(decodeWindow(Buffer.from('0000000000000005ffff', 'hex'))).toBe(5);
  });
});

describe('FrameDecoder', () => {
  it('passes DATA on in slices of the chunks, without copying', () => {
    const payload = pattern(5000);
    const chunk = Buffer.concat([encodeHeader(FrameType.DATA, payload.length, 1, 0), payload]);
    const slices: Uint8Array[] = [];
    const decoder = new FrameDecoder({
      frame: () => {},
      data: (_header, _offset, slice) => slices.push(slice),
    });
    decoder.push(chunk.subarray(0, 1000));
    decoder.push(chunk.subarray(1000));
    expect(slices.map((slice) => slice.length)).toEqual([984, 4016]);
    expect(slices.every((slice) => slice.buffer === chunk.buffer)).toBe(true);
  });

  it('decodes the same frames however they are cut', () => {
    const frame = fc.record({
      type: fc.constantFrom(...Object.values(FrameType), 0x7f),
      stream: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      sequence: fc.maxSafeNat(),
      length: fc.integer({ min: 1, max: 250 }),
    });
    const sizes = fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 30 });
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 12 }), sizes, (frames, sizes) => {
        const bytes = Buffer.concat(
          frames.flatMap(({ type, stream, sequence, length }) => [
            encodeHeader(type, length, stream, sequence),
            pattern(length, stream + 1),
          ]),
        );
        const expected = frames.map(({ type, stream, sequence, length }) => ({
          type,
          stream,
          sequence,
          payload: hex(pattern(length, stream + 1)),
        }));
        expect(decode(cut(bytes, sizes))).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  it('answers random bytes with frames or PROTOCOL_ERROR, nothing else', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => {
        expect(['frames', 'PROTOCOL_ERROR']).toContain(outcome(chunks));
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['a reliable type it does not know', encodeHeader(0x07, 0, 0, 0)],
    ['a type outside both ranges', encodeHeader(0x80, 0, 0, 0)],
    ['type zero', encodeHeader(0, 0, 0, 0)],
    ['a frame over the limit', encodeHeader(FrameType.DATA, MAX_FRAME_PAYLOAD + 1, 1, 0)],
    ['a long control frame', encodeHeader(FrameType.WINDOW, 257, 1, 0)],
    ['empty DATA', encodeHeader(FrameType.DATA, 0, 1, 0)],
    ['a sequence beyond 2^53', Buffer.from('41000000000000000020000000000000', 'hex')],
  ])('refuses %s', (_what, bytes) => {
    expect(() => decode([bytes])).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
  });
});
