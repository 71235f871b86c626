import { SallyportError } from '../errors.ts';

/**
 * A frame on a path, all numbers big-endian:
 *
 *      0         1                   4                   8                  16
 *     +---------+-------------------+-------------------+-------------------+---------
 *     | type u8 | payload length u24| stream u32        | sequence u64      | payload …
 *     +---------+-------------------+-------------------+-------------------+---------
 *
 * 0x01–0x3f are reliable: they share one sequence per direction, starting at 0, and are sent again on the next path
 * until acknowledged. An unknown one is a `PROTOCOL_ERROR`.
 * 0x40–0x7f are idempotent: the sequence field is theirs to use (below). An unknown one is ignored.
 *
 *     OPEN     stream; payload: opaque header, up to 16 KiB
 *     DATA     stream; payload: 1 to 65,536 bytes
 *     WINDOW   stream, or 0 for the session; payload: u64 absolute offset up to which may be sent
 *     FIN      stream
 *     RESET    stream; payload: u64 final offset | u16 code | UTF-8 message
 *     GOAWAY   payload: u16 code | UTF-8 message; the last reliable frame of its sender
 *     ATTACH   first on every path; stream: the sender's number of the path; sequence: the next it expects;
 *              payload: u8 version | u8 role | u16 zero | u32 epoch | 16 bytes session id
 *     ACK      sequence: the next expected, so everything below has arrived
 *     DATAGRAM payload: up to 65,536 bytes
 *     PING     sequence: a token
 *     PONG     sequence: the token of the PING
 *     ACTIVE   sequence: the first reliable frame that follows on this path
 *
 * Bytes after the fields drawn here are ignored, up to the type's limit.
 */
export const FrameType = {
  OPEN: 0x01,
  DATA: 0x02,
  WINDOW: 0x03,
  FIN: 0x04,
  RESET: 0x05,
  GOAWAY: 0x06,
  ATTACH: 0x40,
  ACK: 0x41,
  DATAGRAM: 0x42,
  PING: 0x43,
  PONG: 0x44,
  ACTIVE: 0x45,
} as const;

export interface FrameHeader {
  type: number;
  /** Payload bytes. */
  length: number;
  stream: number;
  /** Sequence numbers stay below 2^53, so that a JavaScript number holds them. */
  sequence: number;
}

export const FRAME_HEADER_BYTES = 16;
/** What files and sockets are read by: a chunk that comes alone is one frame, with nothing left over. */
export const MAX_FRAME_PAYLOAD = 64 * 1024;
export const MAX_OPEN_HEADER = 16 * 1024;
export const MAX_MESSAGE_BYTES = 512;

/** The header alone; payload chunks follow it on the path by reference. */
export function encodeHeader(type: number, length: number, stream: number, sequence: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  const high = Math.floor(sequence / TWO_32);
  const low = sequence >>> 0;
  bytes[0] = type;
  bytes[1] = length >>> 16;
  bytes[2] = length >>> 8;
  bytes[3] = length;
  writeUint32(bytes, 4, stream);
  writeUint32(bytes, 8, high);
  writeUint32(bytes, 12, low);
  return bytes;
}

/** Reads 16 bytes at `at` into `header` and checks type and length; throws `PROTOCOL_ERROR`. */
export function readHeader(bytes: Uint8Array, at: number, header: FrameHeader): void {
  header.type = bytes[at]!;
  header.length = (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
  header.stream = readUint32(bytes, at + 4);
  header.sequence = readUint64(bytes, at + 8);
  const limit = payloadLimit(header.type);
  if (limit === undefined) throw protocolError(`frame type 0x${header.type.toString(16)} is unknown`);
  if (header.length > limit) throw protocolError(`a frame of ${header.length} bytes exceeds ${limit}`);
  if (header.type === FrameType.DATA && header.length === 0) throw protocolError('a DATA frame is empty');
}

export function isReliable(type: number): boolean {
  return type < FrameType.ATTACH;
}

export function writeUint64(bytes: Uint8Array, at: number, value: number): void {
  writeUint32(bytes, at, Math.floor(value / TWO_32));
  writeUint32(bytes, at + 4, value >>> 0);
}

/** Throws `PROTOCOL_ERROR` for what a JavaScript number can't hold exactly. */
export function readUint64(bytes: Uint8Array, at: number): number {
  const high = readUint32(bytes, at);
  if (high >= TWO_21) throw protocolError('a 64-bit number is out of range');
  return high * TWO_32 + readUint32(bytes, at + 4);
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function protocolError(message: string): SallyportError {
  return new SallyportError('PROTOCOL_ERROR', `the peer broke the session protocol: ${message}`);
}

/** The longest payload of a type; `undefined` for a type that may not occur. */
function payloadLimit(type: number): number | undefined {
  switch (type) {
    case FrameType.DATA:
      return MAX_FRAME_PAYLOAD;
    case FrameType.OPEN:
      return MAX_OPEN_HEADER;
    case FrameType.RESET:
    case FrameType.GOAWAY:
      return 1024;
    case FrameType.WINDOW:
    case FrameType.FIN:
    case FrameType.ACK:
    case FrameType.PING:
    case FrameType.PONG:
    case FrameType.ACTIVE:
    case FrameType.ATTACH:
      return 256;
    default:
      return type >= FrameType.ATTACH && type < 0x80 ? MAX_FRAME_PAYLOAD : undefined;
  }
}

const TWO_21 = 2 ** 21;
const TWO_32 = 2 ** 32;
