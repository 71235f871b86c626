import { LIMITS } from '../limits.ts';

/** Every bound of a session. Both ends of a protocol version agree on the two initial windows. */
export interface SessionLimits {
  /** Streams each end may have open at a time. */
  streams: number;
  /** Bytes a stream may send before its receiver has consumed any. */
  initialStreamWindow: number;
  /** What a stream's receive window grows to while the reader keeps up. */
  maxStreamWindow: number;
  /** Bytes all streams together may send before the receiver has consumed any. */
  initialSessionWindow: number;
  /** Room for several streams whose readers stand still, and for the others beside them. */
  maxSessionWindow: number;
  /** Unacknowledged bytes of OPEN, WINDOW, FIN, RESET and GOAWAY frames; more wait. */
  controlBytes: number;
  /** A stream's send queue is called drained at or below this many bytes, … */
  sendLowWater: number;
  /** … and only when it's empty, where so many wait in all queues together, or as many as the process has left. */
  sendBuffer: number;
  /** Bytes handed to a path and not yet reported written. */
  pathBuffer: number;
  /** Bytes in one `transmit`, whole TLS records. Larger batches fall out of the processor's cache between two copies and slow TLS down. */
  batchBytes: number;
  /** TLS records in either direction after which a path is left: AES-GCM allows 2^24.5 for one key (RFC 8446 §5.5). */
  pathRecords: number;
  /** Datagrams waiting for a path; the oldest is dropped for the next. */
  datagrams: number;
  /** An acknowledgement is due after this many bytes, and … */
  ackBytes: number;
  /** … after this many milliseconds, whichever is first. */
  ackDelayMs: number;
  /** A session without any path is kept this long for its peer to come back. */
  resumeTimeoutMs: number;
  /** A closing session waits this long without progress before it closes by force. */
  closeTimeoutMs: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_LIMITS: SessionLimits = {
  streams: LIMITS.streamsPerSession,
  initialStreamWindow: 256 * KIB,
  maxStreamWindow: 16 * MIB,
  initialSessionWindow: MIB,
  maxSessionWindow: 64 * MIB,
  controlBytes: 256 * KIB,
  sendLowWater: 256 * KIB,
  sendBuffer: 32 * MIB,
  pathBuffer: 256 * KIB,
  batchBytes: 128 * KIB,
  pathRecords: 2 ** 24,
  datagrams: 64,
  ackBytes: 32 * KIB,
  ackDelayMs: 20,
  resumeTimeoutMs: LIMITS.resumeTimeoutMs,
  closeTimeoutMs: 5000,
};

/** What all sessions of a process may promise to buffer together. */
export const PROCESS_WINDOW_BUDGET = 256 * MIB;

/** What all sessions of a process hold to be sent, or to be sent again, before each is held back. */
export const PROCESS_SEND_BUDGET = 256 * MIB;
