import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { PROBE_BYTES, ProbeCodec } from '../../../src/core/punch/probe.ts';
import { ATTRIBUTE, writeAttribute, writeHeader } from '../../../src/core/stun/attribute.ts';
import { INTEGRITY_LENGTH, writeIntegrity } from '../../../src/core/stun/integrity.ts';
import { decodeStun, encodeStun } from '../../../src/core/stun/message.ts';

const random = (count: number) => new Uint8Array(randomBytes(count));
const [here, there] = [random(32), random(32)];
const username = 'sixteen-letters-';
const ours = new ProbeCodec({ username, sendKey: here, receiveKey: there }, random);
const peer = new ProbeCodec({ username, sendKey: there, receiveKey: here }, random);

/** A request with one attribute beside its name, under the key that `ours` takes. */
function requestWith(type: number, length: number): Uint8Array {
  const bytes = new Uint8Array(PROBE_BYTES);
  let offset = writeHeader(bytes, 0x0001, random(12));
  offset = writeAttribute(bytes, offset, ATTRIBUTE.USERNAME, Buffer.from('short'));
  offset = writeAttribute(bytes, offset, type, new Uint8Array(length));
  offset = writeAttribute(bytes, offset, ATTRIBUTE.FILLER, new Uint8Array(40 - offset));
  expect(offset).toBe(PROBE_BYTES - INTEGRITY_LENGTH);
  writeIntegrity(bytes, offset, there);
  return bytes;
}

describe('a probe', () => {
  it.each([false, true])('is a STUN Binding request, settled: %s', (settled) => {
    const { transaction, bytes } = ours.request(settled);
    const transactionId = new Uint8Array(Buffer.from(transaction, 'hex'));
    const message = { class: 'request', transactionId, username, useCandidate: settled } as const;
    expect(Buffer.from(bytes)).toEqual(Buffer.from(encodeStun(message, { key: here, padTo: PROBE_BYTES })));
    expect(decodeStun(bytes)).toMatchObject(message);
    expect(peer.read(bytes)).toEqual({ kind: 'request', transaction, settled });
  });

  it.each([false, true])('is answered by a Binding response of its size, settled: %s', (settled) => {
    const { transaction } = peer.request(false);
    const bytes = ours.answer(transaction, settled);
    const transactionId = new Uint8Array(Buffer.from(transaction, 'hex'));
    const message = { class: 'success', transactionId, useCandidate: settled } as const;
    expect(Buffer.from(bytes)).toEqual(Buffer.from(encodeStun(message, { key: here, padTo: PROBE_BYTES })));
    expect(peer.read(bytes)).toEqual({ kind: 'answer', transaction, settled });
  });

  it('is nobody else’s', () => {
    expect(ours.read(ours.request(false).bytes)).toBeUndefined(); // our own, come back
    const { bytes } = peer.request(false);
    for (let at = 0; at < bytes.length; at++) {
      expect(ours.read(bytes.with(at, bytes[at]! ^ 1))).toBeUndefined();
    }
    expect(ours.read(bytes.subarray(0, -4))).toBeUndefined();
    const other = new ProbeCodec({ username: 'another-session-', sendKey: there, receiveKey: here }, random);
    expect(ours.read(other.request(false).bytes)).toBeUndefined();
  });

  it('may hold what can be ignored, and nothing that has to be understood', () => {
    const short = new ProbeCodec({ username: 'short', sendKey: here, receiveKey: there }, random);
    expect(short.read(requestWith(0xc0ff, 0))).toMatchObject({ kind: 'request', settled: false });
    expect(short.read(requestWith(ATTRIBUTE.USE_CANDIDATE, 0))).toMatchObject({ settled: true });
    expect(short.read(requestWith(ATTRIBUTE.USE_CANDIDATE, 4))).toBeUndefined();
    expect(short.read(requestWith(0x00ff, 0))).toBeUndefined();
  });
});
