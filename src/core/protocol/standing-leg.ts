import { concat, utf8 } from '../bytes.ts';
import type { ErrorCode } from '../errors.ts';

/**
 * A leg of kind `relay-h1` stands ready before it is opened: an HTTP/1.1 connection upgraded to `UPGRADE_TOKEN`
 * (RFC 9110 §7.8), on which these pass until it carries a circuit (docs/protocol.md, "Relay").
 * ```
 *  peer → relay   00                          are you there?
 *                 01 | opening 318, base64url open the leg
 *  relay → peer   00                          I am
 *                 01                          it is open: from here on the circuit's own bytes, both ways
 *                 02 | error code, ASCII      refused; the connection ends
 * ```
 */
export const UPGRADE_TOKEN = 'sallyport';

export const ALIVE = 0x00;
export const OPEN = 0x01;
export const REFUSED = 0x02;

/** Of what follows `OPEN` on its way to the relay. */
export const OPENING_TEXT_BYTES = 318;

export function openMessage(opening: string): Uint8Array {
  return concat(Uint8Array.of(OPEN), utf8(opening));
}

export function refusedMessage(code: ErrorCode): Uint8Array {
  return concat(Uint8Array.of(REFUSED), utf8(code));
}
