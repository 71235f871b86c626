import { SallyportError } from '../errors.ts';

/** Attribute types (RFC 8489 §18.3, RFC 8445 §16.1, RFC 5780 §7) and three of our own, comprehension-optional. */
export const ATTRIBUTE = {
  MAPPED_ADDRESS: 0x0001,
  CHANGE_REQUEST: 0x0003,
  USERNAME: 0x0006,
  MESSAGE_INTEGRITY: 0x0008,
  ERROR_CODE: 0x0009,
  UNKNOWN_ATTRIBUTES: 0x000a,
  REALM: 0x0014,
  NONCE: 0x0015,
  MESSAGE_INTEGRITY_SHA256: 0x001c,
  XOR_MAPPED_ADDRESS: 0x0020,
  PRIORITY: 0x0024,
  USE_CANDIDATE: 0x0025,
  PADDING: 0x0026,
  RESPONSE_PORT: 0x0027,
  FINGERPRINT: 0x8028,
  RESPONSE_ORIGIN: 0x802b,
  OTHER_ADDRESS: 0x802c,
  /** A rendezvous's signature over the source it saw (docs/protocol.md, "STUN"): time (8) | signature (64). */
  ATTESTATION: 0xc0a1,
  /**
   * Zeros that bring a request to the size of its reply. RFC 5780's PADDING would not do: a server has to
   * answer that with a padded response, and servers without RFC 5780 must refuse it.
   */
  FILLER: 0xc0a2,
  /** What became of a dial back (docs/protocol.md, "STUN"): 1 connected, 2 refused, 3 silent. */
  DIAL_OUTCOME: 0xc0a3,
} as const;

export const HEADER_LENGTH = 20;

/** From here on a type that isn't known may be ignored (RFC 8489 §18.3). */
export const COMPREHENSION_OPTIONAL = 0x8000;

/** Where an attribute's value lies within its message. */
export interface AttributeSpan {
  readonly type: number;
  readonly start: number;
  readonly length: number;
}

/** RFC 8489 §5: first two bits zero, the magic cookie, and a length that is this datagram's. */
export function looksLikeStun(bytes: Uint8Array): boolean {
  return (
    bytes.length >= HEADER_LENGTH &&
    bytes[0]! >> 6 === 0 &&
    bytes[4] === 0x21 &&
    bytes[5] === 0x12 &&
    bytes[6] === 0xa4 &&
    bytes[7] === 0x42 &&
    bytes.length === HEADER_LENGTH + uint16At(bytes, 2) &&
    bytes.length % 4 === 0
  );
}

/**
 * Walks a message's attributes without reading their values:
 * ```
 *  type (2) | length of value (2) | value | 0–3 bytes that align the next attribute to 4
 * ```
 * What follows MESSAGE-INTEGRITY is not covered by it and is left out, FINGERPRINT excepted (RFC 8489 §14.5).
 * @throws SallyportError `PROTOCOL_ERROR` on bytes that are not one whole STUN message
 */
export function walkAttributes(bytes: Uint8Array): AttributeSpan[] {
  if (!looksLikeStun(bytes)) throw malformed('not a STUN message');
  const spans: AttributeSpan[] = [];
  let sealed = false;
  for (let offset = HEADER_LENGTH; offset < bytes.length;) {
    const type = uint16At(bytes, offset);
    const length = uint16At(bytes, offset + 2);
    const start = offset + 4;
    if (start + length > bytes.length) throw malformed('an attribute is longer than its message');
    if (!sealed || type === ATTRIBUTE.FINGERPRINT) spans.push({ type, start, length });
    sealed ||= type === ATTRIBUTE.MESSAGE_INTEGRITY;
    offset = start + aligned(length);
  }
  return spans;
}

/** Writes the header of a message that fills `bytes`, and returns the offset behind it. */
export function writeHeader(bytes: Uint8Array, type: number, transactionId: Uint8Array): number {
  const length = bytes.length - HEADER_LENGTH;
  bytes.set([type >> 8, type & 0xff, length >> 8, length & 0xff, 0x21, 0x12, 0xa4, 0x42]);
  bytes.set(transactionId, 8);
  return HEADER_LENGTH;
}

/** Writes one attribute at `offset` and returns the offset behind it; `bytes` is zeroed there. */
export function writeAttribute(bytes: Uint8Array, offset: number, type: number, value: Uint8Array): number {
  bytes[offset] = type >> 8;
  bytes[offset + 1] = type & 0xff;
  bytes[offset + 2] = value.length >> 8;
  bytes[offset + 3] = value.length & 0xff;
  bytes.set(value, offset + 4);
  return offset + 4 + aligned(value.length);
}

export function aligned(length: number): number {
  return (length + 3) & ~3;
}

export function uint16At(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

export function malformed(reason: string, cause?: unknown): SallyportError {
  return new SallyportError('PROTOCOL_ERROR', `malformed STUN message: ${reason}`, { cause });
}
