import { formatAddress, isAddress, addressBytes } from './address.ts';
import { concat } from './bytes.ts';
import { SallyportError, type ErrorCode } from './errors.ts';

// SOCKS protocol version 5 (RFC 1928), the server's half: what clients send is read, what they are told is written.

/** Where a client wants to go: an address, or a name that is resolved where the connection is made. */
export interface SocksAddress {
  readonly host: string;
  readonly port: number;
}

/** RFC 1928 §4, CMD. */
export const COMMAND = { connect: 1, bind: 2, udpAssociate: 3 } as const;

/** RFC 1928 §6, REP. */
export const REPLY = {
  succeeded: 0,
  generalFailure: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  connectionRefused: 5,
  ttlExpired: 6,
  commandNotSupported: 7,
  addressTypeNotSupported: 8,
} as const;

/** What was read, and how many bytes it took. */
export interface Parsed<T> {
  readonly value: T;
  readonly length: number;
}

/**
 * The methods of authentication that a client offers (§3):
 * ```
 *  version 1 (5) | count 1 | method 1 …
 * ```
 * `undefined` while it isn't complete. @throws SallyportError `PROTOCOL_ERROR`
 */
export function readGreeting(bytes: Uint8Array): Parsed<readonly number[]> | undefined {
  if (bytes.length > 0 && bytes[0] !== VERSION) {
    throw new SallyportError('PROTOCOL_ERROR', `a client does not speak SOCKS5 (version ${bytes[0]})`, {
      hint: 'tell it to use socks5 or socks5h',
    });
  }
  const length = 2 + (bytes[1] ?? 0);
  if (bytes.length < 2 || bytes.length < length) return undefined;
  return { value: [...bytes.subarray(2, length)], length };
}

/**
 * A request (§4):
 * ```
 *  version 1 (5) | command 1 | 0 | address type 1 | address | port 2
 * ```
 * `undefined` while it isn't complete; an `address` of `undefined` is one of a type that RFC 1928 doesn't know.
 * @throws SallyportError `PROTOCOL_ERROR`
 */
export function readRequest(
  bytes: Uint8Array,
): Parsed<{ command: number; address: SocksAddress | undefined }> | undefined {
  if (bytes.length > 0 && bytes[0] !== VERSION)
    throw new SallyportError('PROTOCOL_ERROR', 'a SOCKS request of another version');
  if (bytes.length < 4) return undefined;
  const address = readAddress(bytes, 3);
  if (address === 'incomplete') return undefined;
  const command = bytes[1]!;
  if (address === 'unknown') return { value: { command, address: undefined }, length: bytes.length };
  return { value: { command, address: address.value }, length: address.length };
}

/** The method that was chosen: 0 for none, 255 where the client offers nothing that serves. */
export function methodReply(method: number): Uint8Array {
  return Uint8Array.of(VERSION, method);
}

/** The reply to a request (§6), with the endpoint that the client's own is bound to over here. */
export function reply(code: number, bound: SocksAddress = { host: '0.0.0.0', port: 0 }): Uint8Array {
  return concat(Uint8Array.of(VERSION, code, 0), writeAddress(bound));
}

/** What a client is told of a connection that could not be made. */
export function replyFor(code: ErrorCode): number {
  return REPLY_FOR[code] ?? REPLY.generalFailure;
}

const REPLY_FOR: Partial<Record<ErrorCode, number>> = {
  NOT_AUTHORIZED: REPLY.notAllowed,
  TARGET_REFUSED: REPLY.connectionRefused,
  TARGET_UNREACHABLE: REPLY.hostUnreachable,
  NO_PATH: REPLY.networkUnreachable,
  PEER_LOST: REPLY.networkUnreachable,
  SESSION_CLOSED: REPLY.networkUnreachable,
};

/**
 * A datagram between a client and its association (§7):
 * ```
 *  0 0 | fragment 1 | address type 1 | address | port 2 | data
 * ```
 * `undefined` for whatever isn't one; fragments are dropped, which §7 allows.
 */
export function readDatagram(bytes: Uint8Array): { address: SocksAddress; data: Uint8Array } | undefined {
  if (bytes.length < 4 || bytes[2] !== 0) return undefined;
  const address = readAddress(bytes, 3);
  if (typeof address === 'string') return undefined;
  return { address: address.value, data: bytes.subarray(address.length) };
}

export function writeDatagram(from: SocksAddress, data: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(0, 0, 0), writeAddress(from), data);
}

/** No request is longer: a name of 255 bytes. */
export const MAX_REQUEST_BYTES = 4 + 1 + 255 + 2;

function readAddress(bytes: Uint8Array, at: number): Parsed<SocksAddress> | 'incomplete' | 'unknown' {
  const type = bytes[at];
  const named = type === TYPE.name;
  const start = at + (named ? 2 : 1);
  const size = named ? bytes[at + 1] : type === TYPE.ipv4 ? 4 : type === TYPE.ipv6 ? 16 : undefined;
  if (size === undefined) return named ? 'incomplete' : 'unknown';
  const length = start + size + 2;
  if (bytes.length < length) return 'incomplete';
  const host = bytes.subarray(start, start + size);
  const port = (bytes[length - 2]! << 8) | bytes[length - 1]!;
  return { value: { host: named ? new TextDecoder().decode(host) : formatAddress(host), port }, length };
}

function writeAddress({ host, port }: SocksAddress): Uint8Array {
  const last = Uint8Array.of(port >> 8, port & 0xff);
  if (isAddress(host)) {
    const bytes = addressBytes(host);
    return concat(Uint8Array.of(bytes.length === 4 ? TYPE.ipv4 : TYPE.ipv6), bytes, last);
  }
  const name = new TextEncoder().encode(host);
  return concat(Uint8Array.of(TYPE.name, name.length), name, last);
}

const VERSION = 5;
/** RFC 1928 §5, ATYP. */
const TYPE = { ipv4: 1, name: 3, ipv6: 4 } as const;
