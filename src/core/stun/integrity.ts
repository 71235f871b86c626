import { createHmac, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import {
  ATTRIBUTE,
  HEADER_LENGTH,
  looksLikeStun,
  walkAttributes,
  writeAttribute,
  type AttributeSpan,
} from './attribute.ts';

/** The attributes that vouch for the bytes before them, header and attribute header included. */
export const INTEGRITY_LENGTH = 24;
export const FINGERPRINT_LENGTH = 8;

const FINGERPRINT_XOR = 0x5354554e;

/** Appends MESSAGE-INTEGRITY (RFC 8489 §14.5, HMAC-SHA1) at `offset`; returns the offset behind it. */
export function writeIntegrity(bytes: Uint8Array, offset: number, key: Uint8Array): number {
  return writeAttribute(bytes, offset, ATTRIBUTE.MESSAGE_INTEGRITY, integrityOf(bytes, offset, key));
}

/** Appends FINGERPRINT (RFC 8489 §14.7) at `offset`; returns the offset behind it. */
export function writeFingerprint(bytes: Uint8Array, offset: number): number {
  writeLength(bytes, offset + FINGERPRINT_LENGTH);
  return writeAttribute(bytes, offset, ATTRIBUTE.FINGERPRINT, fingerprintOf(bytes, offset));
}

/** True when the message carries MESSAGE-INTEGRITY under `key`. Constant time in the value; never throws. */
export function verifyIntegrity(bytes: Uint8Array, key: Uint8Array): boolean {
  if (!looksLikeStun(bytes)) return false;
  const span = integritySpan(bytes);
  if (span?.length !== 20) return false;
  const carried = bytes.subarray(span.start, span.start + 20);
  const covered = Uint8Array.from(bytes.subarray(0, span.start)); // a copy, also of a Buffer, whose length changes
  return timingSafeEqual(carried, integrityOf(covered, span.start - 4, key));
}

/** True when `span`, the FINGERPRINT of this message, ends it and fits it. */
export function fingerprintFits(bytes: Uint8Array, span: AttributeSpan): boolean {
  if (span.length !== 4 || span.start + 4 !== bytes.length) return false;
  const expected = fingerprintOf(bytes, span.start - 4);
  return expected.every((byte, i) => byte === bytes[span.start + i]);
}

/** Sets the header's length field for a message that is `total` bytes long. */
export function writeLength(bytes: Uint8Array, total: number): void {
  bytes[2] = (total - HEADER_LENGTH) >> 8;
  bytes[3] = (total - HEADER_LENGTH) & 0xff;
}

function integritySpan(bytes: Uint8Array): AttributeSpan | undefined {
  try {
    return walkAttributes(bytes).find(({ type }) => type === ATTRIBUTE.MESSAGE_INTEGRITY);
  } catch {
    return undefined;
  }
}

/** The HMAC of what precedes `offset`, whose length field counts up to the end of MESSAGE-INTEGRITY itself. */
function integrityOf(bytes: Uint8Array, offset: number, key: Uint8Array): Uint8Array {
  writeLength(bytes, offset + INTEGRITY_LENGTH);
  return createHmac('sha1', key).update(bytes.subarray(0, offset)).digest();
}

function fingerprintOf(bytes: Uint8Array, offset: number): Uint8Array {
  const value = (crc32(bytes.subarray(0, offset)) ^ FINGERPRINT_XOR) >>> 0;
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}
