import { ZERO } from '../zero.ts';
import type { ErrorCode } from '../errors.ts';
import type { StreamId } from './events.ts';
import { encodeHeader, FRAME_HEADER_BYTES, FrameType } from './frame.ts';
import { encodeGoaway, encodeReset, encodeWindow } from './payload.ts';
import type { SentFrame } from './resend.ts';
import type { StreamState } from './stream.ts';

/** The one control frame that the stream owes next, and the change of state that goes with it: OPEN first, FIN last. */
export function nextControlFrame(stream: StreamState, sequence: number): SentFrame {
  if (stream.openHeader !== undefined) {
    const header = stream.openHeader;
    stream.openHeader = undefined;
    return controlFrame(FrameType.OPEN, stream.id, sequence, header);
  }
  if (stream.resetRequested !== undefined) {
    const payload = encodeReset({ finalOffset: stream.sent, ...stream.resetRequested });
    stream.resetRequested = undefined;
    stream.resetSent = true;
    return controlFrame(FrameType.RESET, stream.id, sequence, payload);
  }
  if (stream.windowDue) {
    return windowFrame(stream.id, stream.receive.grant(), sequence);
  }
  stream.finSent = true;
  return controlFrame(FrameType.FIN, stream.id, sequence, EMPTY);
}

/** A DATA frame of up to `max` bytes from the stream's queue, within its window. */
export function nextDataFrame(stream: StreamState, sequence: number, max: number): SentFrame {
  const chunks: Uint8Array[] = [EMPTY];
  const length = stream.queue.take(Math.min(max, stream.sendable), chunks);
  chunks[0] = encodeHeader(FrameType.DATA, length, stream.id, sequence);
  stream.sent += length;
  return unsent(chunks, FRAME_HEADER_BYTES + length, false);
}

export function windowFrame(id: StreamId, limit: number, sequence: number): SentFrame {
  return controlFrame(FrameType.WINDOW, id, sequence, encodeWindow(limit));
}

export function goawayFrame(code: ErrorCode | undefined, message: string, sequence: number): SentFrame {
  return controlFrame(FrameType.GOAWAY, 0, sequence, encodeGoaway({ code, message }));
}

function controlFrame(type: number, id: StreamId, sequence: number, payload: Uint8Array): SentFrame {
  const header = encodeHeader(type, payload.length, id, sequence);
  const chunks = payload.length === 0 ? [header] : [header, payload];
  return unsent(chunks, header.length + payload.length, true);
}

function unsent(chunks: readonly Uint8Array[], bytes: number, control: boolean): SentFrame {
  return {
    chunks,
    bytes,
    control,
    sentAt: ZERO,
    deliveredBefore: ZERO,
    deliveredAt: ZERO,
    deliveredSentAt: ZERO,
  };
}

const EMPTY = new Uint8Array(0);
