import { verifyIntegrity, decodeStun, encodeStun, type StunMessage } from './message.ts';

/** The USERNAME and MESSAGE-INTEGRITY key of a registration. */
export interface StunCredentials {
  readonly username: string;
  readonly key: Uint8Array;
}

/** What a Binding request may ask for beside the mapping (RFC 5780 §7). */
export type BindingWish = Pick<StunMessage, 'change' | 'responsePort'>;

/**
 * The longest reply to a registered peer: header 20, three IPv6 addresses 72, attestation 76, integrity 24,
 * fingerprint 8. Requests are this long, so that no reply is longer than its request.
 */
const REPLY_BYTES = 200;
/** Header 20 and three IPv6 addresses 72, rounded up. */
const STRANGER_REQUEST_BYTES = 96;

/**
 * A Binding request as our own servers want it: authenticated, and as long as its reply. Without credentials it is
 * a plain one, for any server.
 */
export function bindingRequest(
  transactionId: Uint8Array,
  credentials: StunCredentials | undefined,
  { change, responsePort }: BindingWish = {},
): Uint8Array {
  const request: StunMessage = { class: 'request', transactionId, change, responsePort };
  // An answer from elsewhere is given to a stranger only where it is no longer than the request.
  if (!credentials) return encodeStun(request, change && { padTo: STRANGER_REQUEST_BYTES });
  const { username, key } = credentials;
  return encodeStun({ ...request, username }, { key, fingerprint: true, padTo: REPLY_BYTES });
}

/**
 * A response that carries our key's integrity; `undefined` for anything else. Never throws. Without credentials any
 * response will do: whoever asked plainly knows it by its transaction id alone.
 */
export function readResponse(
  bytes: Uint8Array,
  credentials: StunCredentials | undefined,
): StunMessage | undefined {
  if (credentials && !verifyIntegrity(bytes, credentials.key)) return undefined;
  try {
    const message = decodeStun(bytes);
    return message.class === 'success' || message.class === 'error' ? message : undefined;
  } catch {
    return undefined;
  }
}
