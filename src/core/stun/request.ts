import { verifyIntegrity, decodeStun, encodeStun, type StunMessage } from './message.ts';

/** The USERNAME and MESSAGE-INTEGRITY key of a registration. */
export interface StunCredentials {
  readonly username: string;
  readonly key: Uint8Array;
}

/**
 * The longest reply to a registered peer: header 20, three IPv6 addresses 72, attestation 76, integrity 24,
 * fingerprint 8. Requests are this long, so that no reply is longer than its request.
 */
const REPLY_BYTES = 200;

/** A Binding request as our own servers want it: authenticated, and as long as its reply. */
export function bindingRequest(
  transactionId: Uint8Array,
  { username, key }: StunCredentials,
  change?: StunMessage['change'],
): Uint8Array {
  return encodeStun(
    { class: 'request', transactionId, username, change },
    { key, fingerprint: true, padTo: REPLY_BYTES },
  );
}

/** A response that carries our key's integrity; `undefined` for anything else. Never throws. */
export function readResponse(bytes: Uint8Array, { key }: StunCredentials): StunMessage | undefined {
  if (!verifyIntegrity(bytes, key)) return undefined;
  try {
    const message = decodeStun(bytes);
    return message.class === 'success' || message.class === 'error' ? message : undefined;
  } catch {
    return undefined;
  }
}
