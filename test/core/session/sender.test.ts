import { describe, expect, it } from 'vitest';
import { Batch } from '../../../src/core/session/batch.ts';
import { FrameDecoder } from '../../../src/core/session/decoder.ts';
import { encodeHeader, FrameType, type FrameHeader } from '../../../src/core/session/frame.ts';
import { DEFAULT_LIMITS } from '../../../src/core/session/limits.ts';
import { windowFrame } from '../../../src/core/session/outgoing.ts';
import { Path } from '../../../src/core/session/path.ts';
import { ResendBuffer, type SentFrame } from '../../../src/core/session/resend.ts';
import { SendBudget } from '../../../src/core/session/send-budget.ts';
import { SequenceSender } from '../../../src/core/session/sender.ts';

const KIB = 1024;

/** A sender with `count` frames to make, each DATA of 4 KiB unless told otherwise. */
function senderOf(count: number, make = dataFrame, controlBytes = DEFAULT_LIMITS.controlBytes) {
  const buffer = new ResendBuffer(new SendBudget(Infinity));
  const sender = new SequenceSender({ ...DEFAULT_LIMITS, controlBytes }, buffer, (sequence) =>
    sequence < count ? make(sequence) : undefined,
  );
  return { buffer, sender };
}

function dataFrame(sequence: number, length = 4 * KIB): SentFrame {
  const payload = Buffer.alloc(length);
  const chunks = [encodeHeader(FrameType.DATA, payload.length, 1, sequence), payload];
  const departure = { sentAt: 0, deliveredBefore: 0, deliveredAt: 0, deliveredSentAt: 0 };
  return { chunks, bytes: 16 + payload.length, control: false, ...departure };
}

function pathFrom(first: number, room = 256 * KIB): Path {
  const sink = { frame: () => undefined, data: () => undefined };
  const path = new Path({ info: { id: 1, kind: 'tcp', direct: true }, epoch: 0, room, sink }, 0);
  path.activate(first, first, false, 0);
  return path;
}

/** One batch, as the peer reads it: `A3` for ACTIVE from frame 3, or a frame's number. */
function fill(sender: SequenceSender, path: Path): string[] {
  const batch = new Batch();
  sender.addTo(batch, path, 1);
  const read: string[] = [];
  const note = ({ type, sequence }: FrameHeader) =>
    read.push(type === FrameType.ACTIVE ? `A${sequence}` : `${sequence}`);
  const decoder = new FrameDecoder({
    frame: note,
    data: (header, offset) => void (offset === 0 && note(header)),
  });
  for (const chunk of batch.chunks) decoder.push(chunk);
  return read;
}

describe('the sender of reliable frames', () => {
  it('numbers them in one row and sends each once on a path', () => {
    const { sender } = senderOf(3);
    const path = pathFrom(0);
    expect(fill(sender, path)).toEqual(['A0', '0', '1', '2']);
    expect(fill(sender, path)).toEqual([]);
    expect(sender).toMatchObject({ next: 3, unacknowledged: 3, resent: 0 });
  });

  it('starts with the oldest unacknowledged frame on another path', () => {
    const { buffer, sender } = senderOf(3);
    const path = pathFrom(0);
    fill(sender, path);
    sender.acknowledge(1, path, 2);
    expect(fill(sender, pathFrom(buffer.first))).toEqual(['A1', '1', '2']);
    expect(sender.resent).toBe(2);
  });

  it('skips what is acknowledged before it was sent again, and says so', () => {
    const { buffer, sender } = senderOf(4);
    fill(sender, pathFrom(0));
    const next = pathFrom(buffer.first);
    sender.acknowledge(2, next, 2);
    expect(sender.isCaughtUp(next)).toBe(false);
    expect(fill(sender, next)).toEqual(['A2', '2', '3']);
    expect(sender.isCaughtUp(next)).toBe(true);
  });

  it('fills a batch to its last byte, where a TLS record ends, and leaves out what is not worth a frame', () => {
    const source = (sequence: number, _frameBytes: unknown, room: number) =>
      dataFrame(sequence, Math.min(64 * KIB, room));
    const sender = new SequenceSender(DEFAULT_LIMITS, new ResendBuffer(new SendBudget(Infinity)), source);
    const path = pathFrom(0);
    Object.defineProperty(path, 'inFlightLimit', { value: Infinity });
    const batches = [256 * KIB, 80 * KIB, 17 * KIB].map((room) => {
      path.room = room;
      const batch = new Batch();
      sender.addTo(batch, path, 1);
      return batch.bytes;
    });
    expect(batches).toEqual([128 * KIB, 64 * KIB, 0]);
  });

  it('hears of progress once, and never of what was not sent', () => {
    const { sender } = senderOf(2);
    const path = pathFrom(0);
    fill(sender, path);
    expect(sender.acknowledge(2, path, 2)).toBe(true);
    expect(sender.acknowledge(2, path, 3)).toBe(false);
    expect(() => sender.acknowledge(3, path, 3)).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
    expect(path.inFlight).toBe(0);
  });

  it('takes an acknowledgement while there is no path', () => {
    const { sender } = senderOf(2);
    fill(sender, pathFrom(0));
    expect(sender.acknowledge(1, undefined, 2)).toBe(true);
    expect(sender.unacknowledged).toBe(1);
  });

  it('leaves room on the path for what keeps it alive', () => {
    const { sender } = senderOf(10);
    expect(fill(sender, pathFrom(0, 16 * KIB))).toEqual([]);
    expect(fill(sender, pathFrom(0, 16 * KIB + 1))).toEqual(['A0']);
  });

  it('stops at what a path of unknown speed may have in flight', () => {
    const { sender } = senderOf(100);
    const path = pathFrom(0);
    expect(fill(sender, path)).toEqual(['A0', '0', '1', '2', '3', '4', '5', '6', '7']);
    expect(path.busy).toBe(true);
    expect(fill(sender, path)).toEqual([]);
    sender.acknowledge(8, path, 100);
    expect(fill(sender, path)[0]).toBe('8');
  });

  it('makes no more control frames than may wait for an acknowledgement, but repeats those', () => {
    const { buffer, sender } = senderOf(100, (sequence) => windowFrame(1, sequence, sequence), 60);
    const path = pathFrom(0);
    expect(fill(sender, path)).toEqual(['A0', '0', '1', '2']);
    expect(fill(sender, pathFrom(buffer.first))).toEqual(['A0', '0', '1', '2']);
    sender.acknowledge(1, path, 2);
    expect(fill(sender, path)).toEqual(['3']);
  });
});
