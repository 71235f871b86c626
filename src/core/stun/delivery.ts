import { concat } from '../bytes.ts';

/**
 * What a server's connection to a peer's RESPONSE-PORT begins with, 16 bytes like the tag of every other connection
 * that a peer accepts; the reply follows.
 * ```
 *  transaction id of the request (12) | 21 12 a4 42
 * ```
 * @param request the request as it was sent: its transaction id is unpredictable
 */
export function deliveryTag(request: Uint8Array): Uint8Array {
  return concat(request.subarray(8, 20), request.subarray(4, 8));
}
