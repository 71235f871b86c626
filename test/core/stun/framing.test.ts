import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat } from '../../../src/core/bytes.ts';
import { StunFramer } from '../../../src/core/stun/framing.ts';
import { encodeStun } from '../../../src/core/stun/message.ts';

const messages = [0, 40, 200].map((padTo, i) =>
  encodeStun({ class: 'request', transactionId: new Uint8Array(12).fill(i) }, { padTo }),
);

describe('STUN over TCP', () => {
  it('finds the same messages however the stream is cut', () => {
    const stream = concat(...messages);
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 12 }), (cuts) => {
        const framer = new StunFramer();
        const edges = [0, ...cuts.toSorted((a, b) => a - b), stream.length];
        const found = edges.flatMap((end, i) => framer.push(stream.subarray(edges[i - 1] ?? 0, end)));
        expect(found.map((bytes) => Buffer.from(bytes))).toEqual(messages.map((bytes) => Buffer.from(bytes)));
      }),
    );
  });

  it('gives up at once on what is not STUN, or longer than 4 KiB', () => {
    const protocolError = expect.objectContaining({ code: 'PROTOCOL_ERROR' });
    expect(() => new StunFramer().push(Buffer.from('GET / HTTP/1.1'))).toThrow(protocolError);
    const header = encodeStun({ class: 'request', transactionId: new Uint8Array(12) });
    header[2] = 0x20;
    expect(() => new StunFramer().push(header)).toThrow(protocolError);
  });
});
