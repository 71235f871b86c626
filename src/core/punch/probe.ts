import { hex } from '../bytes.ts';
import { ATTRIBUTE, looksLikeStun, uint16At, walkAttributes } from '../stun/attribute.ts';
import { decodeStun, encodeStun, verifyIntegrity, type StunMessage } from '../stun/message.ts';

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
    const message = { class: 'request', transactionId, username: this.#credentials.username } as const;
    return { transaction: hex(transactionId), bytes: this.#encode(message, settled) };
  }

  answer(transaction: string, settled: boolean): Uint8Array {
    const transactionId = new Uint8Array(Buffer.from(transaction, 'hex'));
    return this.#encode({ class: 'success', transactionId }, settled);
  }

  /** The probe in `bytes`, or `undefined` for anything that the other end of this session did not write. */
  read(bytes: Uint8Array): Probe | undefined {
    if (bytes.length !== PROBE_BYTES || !looksLikeStun(bytes)) return undefined;
    if (!verifyIntegrity(bytes, this.#credentials.receiveKey)) return undefined;
    try {
      const { class: kind, transactionId, username, useCandidate } = decodeStun(bytes);
      const probe = { transaction: hex(transactionId), settled: useCandidate ?? false };
      if (kind === 'success') return { kind: 'answer', ...probe };
      if (kind !== 'request' || username !== this.#credentials.username) return undefined;
      return { kind: 'request', ...probe };
    } catch {
      return undefined;
    }
  }

  #encode(message: StunMessage, settled: boolean): Uint8Array {
    const { sendKey: key } = this.#credentials;
    return encodeStun({ ...message, useCandidate: settled }, { key, padTo: PROBE_BYTES });
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
    const span = walkAttributes(bytes).find(({ type }) => type === ATTRIBUTE.USERNAME);
    return span && Buffer.from(bytes.subarray(span.start, span.start + span.length)).toString('utf8');
  } catch {
    return undefined;
  }
}
