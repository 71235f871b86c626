import stun from 'stun';
import { sourceAddress } from '../address.ts';
import { uint64 } from '../bytes.ts';
import type { Endpoint } from '../endpoint.ts';
import type { Attestation } from '../punch/candidate.ts';
import {
  aligned,
  ATTRIBUTE,
  COMPREHENSION_OPTIONAL,
  malformed,
  uint16At,
  walkAttributes,
  writeAttribute,
  type AttributeSpan,
} from './attribute.ts';
import {
  FINGERPRINT_LENGTH,
  fingerprintFits,
  INTEGRITY_LENGTH,
  writeFingerprint,
  writeIntegrity,
  writeLength,
} from './integrity.ts';

export { looksLikeStun } from './attribute.ts';
export { verifyIntegrity } from './integrity.ts';

/**
 * A STUN Binding message (RFC 8489), as much of it as NAT discovery (RFC 5780) and connectivity checks (RFC 8445)
 * need. Addresses are canonical.
 *
 * ```
 *  00 | class and method (14 bits) | length (2) | 21 12 a4 42 | transaction id (12) | attributes
 * ```
 */
export interface StunMessage {
  readonly class: 'request' | 'success' | 'error' | 'indication';
  /** 12 bytes. */
  readonly transactionId: Uint8Array;
  readonly username?: string | undefined;
  /** XOR-MAPPED-ADDRESS: the source that the server saw. */
  readonly mapped?: Endpoint | undefined;
  /** RESPONSE-ORIGIN: where the reply was sent from. */
  readonly origin?: Endpoint | undefined;
  /** OTHER-ADDRESS: the server's other address and other port. */
  readonly other?: Endpoint | undefined;
  /** CHANGE-REQUEST: answer from the other address, from the other port. */
  readonly change?: { readonly address: boolean; readonly port: boolean } | undefined;
  /** RESPONSE-PORT: answer to this port of the address that asks (RFC 5780 §7.5). */
  readonly responsePort?: number | undefined;
  /** What became of the dial back that a request over TCP asked for. */
  readonly dialOutcome?: DialOutcome | undefined;
  readonly useCandidate?: boolean | undefined;
  /** 300–699. */
  readonly errorCode?: number | undefined;
  readonly attestation?: Attestation | undefined;
}

/** A server's dial to the mapped address: accepted, answered by RST, or not answered at all. */
export type DialOutcome = 'connected' | 'refused' | 'silent';

export interface StunEncoding {
  /** Adds MESSAGE-INTEGRITY under this key. */
  readonly key?: Uint8Array | undefined;
  /** Adds FINGERPRINT. */
  readonly fingerprint?: boolean | undefined;
  /** Fills the message up to this many bytes, rounded up to 4; a message that is longer already stays so. */
  readonly padTo?: number | undefined;
}

const TYPE = { request: 0x0001, indication: 0x0011, success: 0x0101, error: 0x0111 } as const;
const CLASS = new Map<number, StunMessage['class']>(
  (['request', 'indication', 'success', 'error'] as const).map((name) => [TYPE[name], name]),
);

const CHANGE_ADDRESS = 4;
const CHANGE_PORT = 2;

const ATTESTATION_LENGTH = 72;
/** By the attribute's value; 0 stands for nothing. */
const DIAL_OUTCOMES = [undefined, 'connected', 'refused', 'silent'] as const;

export function encodeStun(message: StunMessage, { key, fingerprint, padTo }: StunEncoding = {}): Uint8Array {
  const head = encodeHead(message);
  const own = ownAttributes(message);
  const tail = (key ? INTEGRITY_LENGTH : 0) + (fingerprint ? FINGERPRINT_LENGTH : 0);
  const bare = own.reduce((sum, [, value]) => sum + 4 + aligned(value.length), head.length + tail);
  const filler = fillerLength(bare, padTo);
  const bytes = new Uint8Array(bare + filler);
  bytes.set(head);
  let offset = head.length;
  for (const [type, value] of own) offset = writeAttribute(bytes, offset, type, value);
  if (filler) offset = writeAttribute(bytes, offset, ATTRIBUTE.FILLER, new Uint8Array(filler - 4));
  writeLength(bytes, offset);
  if (key) offset = writeIntegrity(bytes, offset, key);
  if (fingerprint) writeFingerprint(bytes, offset);
  return bytes;
}

/**
 * Reads one Binding message. MESSAGE-INTEGRITY is not judged here: see `verifyIntegrity`.
 * @throws SallyportError `PROTOCOL_ERROR`, never anything else
 */
export function decodeStun(bytes: Uint8Array): StunMessage {
  const spans = walkAttributes(bytes);
  const messageClass = CLASS.get(uint16At(bytes, 0));
  if (!messageClass) throw malformed('not a Binding message');
  for (const span of spans) checkAttribute(bytes, span);
  const transactionId = copyOf(bytes, 8, 12);
  try {
    return { class: messageClass, transactionId, ...readAttributes(bytes, spans) };
  } catch (cause) {
    throw malformed('an attribute does not parse', cause);
  }
}

/** The attributes that the `stun` package doesn't write. */
function ownAttributes({ attestation, responsePort, dialOutcome }: StunMessage): [number, Uint8Array][] {
  const own: [number, Uint8Array][] = [];
  if (responsePort !== undefined) {
    own.push([ATTRIBUTE.RESPONSE_PORT, Uint8Array.of(responsePort >> 8, responsePort & 0xff, 0, 0)]);
  }
  if (attestation) own.push([ATTRIBUTE.ATTESTATION, attestationValue(attestation)]);
  if (dialOutcome)
    own.push([ATTRIBUTE.DIAL_OUTCOME, Uint8Array.of(DIAL_OUTCOMES.indexOf(dialOutcome), 0, 0, 0)]);
  return own;
}

/** The header and the attributes that the `stun` package writes; none of them depends on the message's length. */
function encodeHead(message: StunMessage): Buffer {
  const out = stun.createMessage(TYPE[message.class], Buffer.from(message.transactionId));
  const { username, mapped, origin, other, change } = message;
  if (username !== undefined) out.addAttribute(ATTRIBUTE.USERNAME, username);
  if (mapped) out.addAttribute(ATTRIBUTE.XOR_MAPPED_ADDRESS, mapped.address, mapped.port);
  if (origin) out.addAttribute(ATTRIBUTE.RESPONSE_ORIGIN, origin.address, origin.port);
  if (other) out.addAttribute(ATTRIBUTE.OTHER_ADDRESS, other.address, other.port);
  if (change) {
    const flags = (change.address ? CHANGE_ADDRESS : 0) | (change.port ? CHANGE_PORT : 0);
    out.addAttribute(ATTRIBUTE.CHANGE_REQUEST, flags);
  }
  if (message.useCandidate) out.addAttribute(ATTRIBUTE.USE_CANDIDATE, Buffer.alloc(0));
  if (message.errorCode !== undefined) out.addError(message.errorCode);
  return stun.encode(out);
}

function readAttributes(bytes: Uint8Array, spans: AttributeSpan[]): Partial<StunMessage> {
  const read = stun.decode(withOnly(bytes, spans.filter(isReadByPackage)));
  const value = (type: number) => read.getAttribute(type)?.value;
  const first = (type: number) => spans.find((span) => span.type === type);
  const username = value(ATTRIBUTE.USERNAME) as Buffer | undefined;
  const change = value(ATTRIBUTE.CHANGE_REQUEST) as number | undefined;
  const error = first(ATTRIBUTE.ERROR_CODE);
  const attestation = first(ATTRIBUTE.ATTESTATION);
  const responsePort = first(ATTRIBUTE.RESPONSE_PORT);
  const outcome = first(ATTRIBUTE.DIAL_OUTCOME);
  return {
    username: username?.toString('utf8'),
    mapped: endpointFrom(value(ATTRIBUTE.XOR_MAPPED_ADDRESS) ?? value(ATTRIBUTE.MAPPED_ADDRESS)),
    origin: endpointFrom(value(ATTRIBUTE.RESPONSE_ORIGIN)),
    other: endpointFrom(value(ATTRIBUTE.OTHER_ADDRESS)),
    change: change === undefined ? undefined : changeFrom(change),
    useCandidate: first(ATTRIBUTE.USE_CANDIDATE) !== undefined,
    errorCode: error && bytes[error.start + 2]! * 100 + bytes[error.start + 3]!,
    attestation: attestation && attestationFrom(bytes, attestation),
    responsePort: responsePort && uint16At(bytes, responsePort.start),
    dialOutcome: outcome && DIAL_OUTCOMES[bytes[outcome.start]!],
  };
}

/** What a stranger's attribute must be before any parser sees it. @throws SallyportError `PROTOCOL_ERROR` */
function checkAttribute(bytes: Uint8Array, span: AttributeSpan): void {
  const fits = VALUE_FITS.get(span.type);
  if (fits ? fits(bytes, span) : span.type >= COMPREHENSION_OPTIONAL) return;
  throw malformed(`attribute 0x${span.type.toString(16)} ${fits ? 'is malformed' : 'is not understood'}`);
}

function isAddressValue(bytes: Uint8Array, { start, length }: AttributeSpan): boolean {
  return (length === 8 && bytes[start + 1] === 1) || (length === 20 && bytes[start + 1] === 2);
}

const anything = () => true;
const VALUE_FITS = new Map<number, (bytes: Uint8Array, span: AttributeSpan) => boolean>([
  [ATTRIBUTE.MAPPED_ADDRESS, isAddressValue],
  [ATTRIBUTE.XOR_MAPPED_ADDRESS, isAddressValue],
  [ATTRIBUTE.RESPONSE_ORIGIN, isAddressValue],
  [ATTRIBUTE.OTHER_ADDRESS, isAddressValue],
  [ATTRIBUTE.CHANGE_REQUEST, (_, { length }) => length === 4],
  [ATTRIBUTE.USERNAME, (_, { length }) => length <= 513],
  [ATTRIBUTE.MESSAGE_INTEGRITY, (_, { length }) => length === 20],
  [ATTRIBUTE.ERROR_CODE, (_, { length }) => length >= 4],
  [ATTRIBUTE.FINGERPRINT, fingerprintFits],
  [ATTRIBUTE.ATTESTATION, (_, { length }) => length === ATTESTATION_LENGTH],
  [ATTRIBUTE.RESPONSE_PORT, (bytes, { start, length }) => length === 4 && uint16At(bytes, start) !== 0],
  [ATTRIBUTE.DIAL_OUTCOME, (_, { length }) => length === 4],
  [ATTRIBUTE.USE_CANDIDATE, (_, { length }) => length === 0],
  // understood well enough to be passed over
  [ATTRIBUTE.UNKNOWN_ATTRIBUTES, anything],
  [ATTRIBUTE.REALM, anything],
  [ATTRIBUTE.NONCE, anything],
  [ATTRIBUTE.MESSAGE_INTEGRITY_SHA256, anything],
  [ATTRIBUTE.PRIORITY, anything],
  [ATTRIBUTE.PADDING, anything],
]);

/** The attributes whose values the `stun` package reads. Its ERROR-CODE reads 401 as 404, so we read that one. */
const READ_BY_PACKAGE: ReadonlySet<number> = new Set([
  ATTRIBUTE.MAPPED_ADDRESS,
  ATTRIBUTE.XOR_MAPPED_ADDRESS,
  ATTRIBUTE.RESPONSE_ORIGIN,
  ATTRIBUTE.OTHER_ADDRESS,
  ATTRIBUTE.CHANGE_REQUEST,
  ATTRIBUTE.USERNAME,
]);

function isReadByPackage({ type }: AttributeSpan): boolean {
  return READ_BY_PACKAGE.has(type);
}

/** The same message with these attributes only. */
function withOnly(bytes: Uint8Array, spans: AttributeSpan[]): Buffer {
  const out = Buffer.alloc(spans.reduce((sum, { length }) => sum + 4 + aligned(length), 20));
  out.set(bytes.subarray(0, 20));
  let offset = 20;
  for (const { type, start, length } of spans) {
    offset = writeAttribute(out, offset, type, bytes.subarray(start, start + length));
  }
  writeLength(out, offset);
  return out;
}

function endpointFrom(value: unknown): Endpoint | undefined {
  if (value === undefined) return undefined;
  const { address, port } = value as Endpoint;
  if (port === 0) throw malformed('port 0');
  return { address: sourceAddress(address), port };
}

function changeFrom(flags: number): { address: boolean; port: boolean } {
  return { address: (flags & CHANGE_ADDRESS) !== 0, port: (flags & CHANGE_PORT) !== 0 };
}

/** `time (8, milliseconds) | signature (64)` */
function attestationValue({ time, signature }: Attestation): Uint8Array {
  const value = new Uint8Array(ATTESTATION_LENGTH);
  value.set(uint64(time));
  value.set(signature, 8);
  return value;
}

function attestationFrom(bytes: Uint8Array, { start, length }: AttributeSpan): Attestation {
  const time = new DataView(bytes.buffer, bytes.byteOffset + start, 8).getBigUint64(0);
  return { time: Number(time), signature: copyOf(bytes, start + 8, length - 8) };
}

/** `slice` of a Buffer would be a view, and datagrams come in shared slabs. */
function copyOf(bytes: Uint8Array, start: number, length: number): Uint8Array {
  return Uint8Array.from(bytes.subarray(start, start + length));
}

function fillerLength(bare: number, padTo: number | undefined): number {
  return padTo === undefined || padTo <= bare ? 0 : aligned(padTo - bare);
}
