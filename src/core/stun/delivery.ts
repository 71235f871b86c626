import { createHash } from 'node:crypto';
import { concat, utf8 } from '../bytes.ts';

/**
 * What a server's connection to a peer's RESPONSE-PORT begins with, 16 bytes like the tag of every other connection
 * that a peer accepts; the reply follows.
 * ```
 *  SHA-256("sallyport/1 delivery tag" | transaction id of the request), its first 12 bytes | 21 12 a4 42
 * ```
 * Whoever listens at that port need not be who asked: none of these bytes, and none of `deliveryId`'s, is the asker's
 * choice, else it could say something to a service behind the address that it shares.
 * @param request the request as it was sent: its transaction id is unpredictable
 */
export function deliveryTag(request: Uint8Array): Uint8Array {
  return concat(derived('sallyport/1 delivery tag', request.subarray(8, 20)), request.subarray(4, 8));
}

/** The transaction id of a reply that is delivered over TCP, 12 bytes. @param asked that of the request */
export function deliveryId(asked: Uint8Array): Uint8Array {
  return derived('sallyport/1 delivery id', asked);
}

function derived(purpose: string, transactionId: Uint8Array): Uint8Array {
  const hash = createHash('sha256').update(utf8(purpose)).update(transactionId).digest();
  return Uint8Array.from(hash.subarray(0, 12));
}
