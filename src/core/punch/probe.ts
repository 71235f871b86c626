import { hex, utf8 } from '../bytes.ts';
import {
  ATTRIBUTE,
  COMPREHENSION_OPTIONAL,
  HEADER_LENGTH,
  looksLikeStun,
  uint16At,
  walkAttributes,
  writeAttribute,
  writeHeader,
  type AttributeSpan,
} from '../stun/attribute.ts';
import { INTEGRITY_LENGTH, verifyIntegrity, writeIntegrity } from '../stun/integrity.ts';

/** Keys and name of one session's probes, all from its handshake. */
export interface ProbeCredentials {
  /** USERNAME: tells sessions apart that share a socket; at most 16 characters. */
  readonly username: string;
  /** MESSAGE-INTEGRITY key of what this end sends. */
  readonly sendKey: Uint8Array;
  /** MESSAGE-INTEGRITY key of what the other end sends: our own probes coming back don't verify. */
  readonly receiveKey: Uint8Array;
}

/** An authenticated probe or its answer. */
export interface Probe {
  readonly kind: 'request' | 'answer';
  /** Transaction id, hex. */
  readonly transaction: string;
  /** USE-CANDIDATE: the sender has settled on the pair that this travels over. */
  readonly settled: boolean;
}

/** Every probe and every answer has this size, so nothing is ever answered with more bytes than it came with. */
export const PROBE_BYTES = 68;

const BINDING_REQUEST = 0x0001;
const BINDING_SUCCESS = 0x0101;

/**
 * Connectivity checks (RFC 8445 §7): Binding requests under the session's probe keys.
 * ```
 *  request   USERNAME (tag of the session) | USE-CANDIDATE? | filler | MESSAGE-INTEGRITY (sender's key)
 *  answer    USE-CANDIDATE? | filler | MESSAGE-INTEGRITY (sender's key)
 * ```
 * Departures from RFC 8445: no PRIORITY, ICE-CONTROLLING or XOR-MAPPED-ADDRESS (roles come from the handshake and
 * nobody needs the address), and USE-CANDIDATE may be sent by both ends and in answers: the responder's says that it
 * has its answer too, so both know when to stop repeating.
 */
export class ProbeCodec {
  #credentials: ProbeCredentials;
  #random: (count: number) => Uint8Array;

  constructor(credentials: ProbeCredentials, random: (count: number) => Uint8Array) {
    this.#credentials = credentials;
    this.#random = random;
  }

  request(settled: boolean): { transaction: string; bytes: Uint8Array } {
    const transactionId = this.#random(12);
    const username = utf8(this.#credentials.username);
    return {
      transaction: hex(transactionId),
      bytes: this.#encode(BINDING_REQUEST, transactionId, settled, username),
    };
  }

  answer(transaction: string, settled: boolean): Uint8Array {
    return this.#encode(BINDING_SUCCESS, Buffer.from(transaction, 'hex'), settled);
  }

  /** The probe in `bytes`, or `undefined` for anything that the other end of this session did not write. */
  read(bytes: Uint8Array): Probe | undefined {
    if (bytes.length !== PROBE_BYTES || !verifyIntegrity(bytes, this.#credentials.receiveKey))
      return undefined;
    const spans = walkAttributes(bytes);
    if (!spans.every(isUnderstood)) return undefined;
    const probe = {
      transaction: hex(bytes.subarray(8, HEADER_LENGTH)),
      settled: spans.some(({ type }) => type === ATTRIBUTE.USE_CANDIDATE),
    };
    const type = uint16At(bytes, 0);
    if (type === BINDING_SUCCESS) return { kind: 'answer', ...probe };
    if (type !== BINDING_REQUEST || usernameAmong(spans, bytes) !== this.#credentials.username)
      return undefined;
    return { kind: 'request', ...probe };
  }

  /** By hand, since a round of punching makes dozens, and the `stun` package takes a stream for each. */
  #encode(type: number, transactionId: Uint8Array, settled: boolean, username?: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(PROBE_BYTES);
    let offset = writeHeader(bytes, type, transactionId);
    if (username) offset = writeAttribute(bytes, offset, ATTRIBUTE.USERNAME, username);
    if (settled) offset = writeAttribute(bytes, offset, ATTRIBUTE.USE_CANDIDATE, NOTHING);
    const filler = PROBE_BYTES - INTEGRITY_LENGTH - offset;
    if (filler > 0) offset = writeAttribute(bytes, offset, ATTRIBUTE.FILLER, new Uint8Array(filler - 4));
    writeIntegrity(bytes, offset, this.#credentials.sendKey);
    return bytes;
  }
}

const NOTHING = new Uint8Array();

/** What a newer peer may add where it can be ignored, or one of ours in its right size. */
function isUnderstood({ type, length }: AttributeSpan): boolean {
  switch (type) {
    case ATTRIBUTE.USERNAME:
    case ATTRIBUTE.MESSAGE_INTEGRITY:
      return true;
    case ATTRIBUTE.USE_CANDIDATE:
      return length === 0;
    default:
      return type >= COMPREHENSION_OPTIONAL;
  }
}

/**
 * What a shared socket needs to find the session that a datagram is for, without checking it: a request's USERNAME
 * or an answer's transaction; `undefined` for anything else.
 */
export function addressee(bytes: Uint8Array): { username: string } | { transaction: string } | undefined {
  if (!looksLikeStun(bytes)) return undefined;
  switch (uint16At(bytes, 0)) {
    case BINDING_SUCCESS:
      return { transaction: hex(bytes.subarray(8, 20)) };
    case BINDING_REQUEST: {
      const username = usernameIn(bytes);
      return username === undefined ? undefined : { username };
    }
    default:
      return undefined;
  }
}

function usernameIn(bytes: Uint8Array): string | undefined {
  try {
    return usernameAmong(walkAttributes(bytes), bytes);
  } catch {
    return undefined;
  }
}

function usernameAmong(spans: readonly AttributeSpan[], bytes: Uint8Array): string | undefined {
  const span = spans.find(({ type }) => type === ATTRIBUTE.USERNAME);
  return span && Buffer.from(bytes.subarray(span.start, span.start + span.length)).toString('utf8');
}
