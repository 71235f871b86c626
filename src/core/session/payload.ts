import type { ErrorCode } from '../errors.ts';
import type { SessionRole } from './role.ts';
import {
  MAX_MESSAGE_BYTES,
  protocolError,
  readUint32,
  readUint64,
  writeUint32,
  writeUint64,
} from './frame.ts';
import { printable } from '../remote-failure.ts';
import { errorCodeOf, wireCode } from './wire-code.ts';

/** What ATTACH says about its sender; drawn in `frame.ts`. */
export interface Attachment {
  role: SessionRole;
  epoch: number;
  /** 16 bytes. */
  sessionId: Uint8Array;
}

export interface Reset {
  /** Bytes of the stream that were sent as DATA. */
  finalOffset: number;
  code: ErrorCode | undefined;
  message: string;
}

export interface Goaway {
  code: ErrorCode | undefined;
  message: string;
}

const SESSION_VERSION = 1;
export const SESSION_ID_BYTES = 16;

export function encodeAttachment({ role, epoch, sessionId }: Attachment): Uint8Array {
  const bytes = Buffer.alloc(ATTACHMENT_BYTES);
  bytes[0] = SESSION_VERSION;
  bytes[1] = role === 'initiator' ? 0 : 1;
  writeUint32(bytes, 4, epoch);
  bytes.set(sessionId, 8);
  return bytes;
}

export function decodeAttachment(bytes: Uint8Array): Attachment {
  requireBytes('ATTACH', bytes, ATTACHMENT_BYTES);
  if (bytes[0] !== SESSION_VERSION)
    throw protocolError(`session version ${bytes[0]} is not ${SESSION_VERSION}`);
  if (bytes[1]! > 1) throw protocolError(`ATTACH names the role ${bytes[1]}`);
  return {
    role: bytes[1] === 0 ? 'initiator' : 'responder',
    epoch: readUint32(bytes, 4),
    sessionId: bytes.subarray(8, ATTACHMENT_BYTES),
  };
}

export function encodeWindow(limit: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(8);
  writeUint64(bytes, 0, limit);
  return bytes;
}

export function decodeWindow(bytes: Uint8Array): number {
  requireBytes('WINDOW', bytes, 8);
  return readUint64(bytes, 0);
}

export function encodeReset({ finalOffset, code, message }: Reset): Uint8Array {
  const bytes = Buffer.alloc(8);
  writeUint64(bytes, 0, finalOffset);
  return Buffer.concat([bytes, encodeGoaway({ code, message })]);
}

export function decodeReset(bytes: Uint8Array): Reset {
  requireBytes('RESET', bytes, 10);
  return { finalOffset: readUint64(bytes, 0), ...decodeGoaway(bytes.subarray(8)) };
}

export function encodeGoaway({ code, message }: Goaway): Uint8Array {
  const wire = wireCode(code);
  return Buffer.concat([Buffer.from([wire >>> 8, wire & 0xff]), truncateUtf8(message)]);
}

export function decodeGoaway(bytes: Uint8Array): Goaway {
  requireBytes('GOAWAY', bytes, 2);
  const message = Buffer.from(bytes.subarray(2, 2 + MAX_MESSAGE_BYTES)).toString('utf8');
  return { code: errorCodeOf((bytes[0]! << 8) | bytes[1]!), message: printable(message) };
}

/** At most `MAX_MESSAGE_BYTES`, cut between characters. */
function truncateUtf8(text: string): Uint8Array {
  const bytes = new Uint8Array(MAX_MESSAGE_BYTES);
  return bytes.subarray(0, new TextEncoder().encodeInto(text, bytes).written);
}

function requireBytes(name: string, bytes: Uint8Array, count: number): void {
  if (bytes.length < count) throw protocolError(`${name} has ${bytes.length} of ${count} bytes`);
}

const ATTACHMENT_BYTES = 8 + SESSION_ID_BYTES;
