import type { ErrorCode } from '../errors.ts';

/** The u16 that RESET and GOAWAY carry for a code. Numbers are never reused; 0 is "no error". */
const WIRE_CODES: readonly (readonly [number, ErrorCode])[] = [
  [1, 'INTERNAL'],
  [2, 'PROTOCOL_ERROR'],
  [3, 'LIMIT'],
  [4, 'TIMEOUT'],
  [5, 'ABORTED'],
  [6, 'UNSUPPORTED'],
  [7, 'STREAM_RESET'],
  [8, 'SESSION_CLOSED'],
  [9, 'SESSION_UNKNOWN'],
  [10, 'PEER_LOST'],
  [11, 'NOT_AUTHORIZED'],
  [12, 'TOKEN_INVALID'],
  [13, 'RATE_LIMITED'],
  [14, 'SERVICE_UNKNOWN'],
  [15, 'TARGET_REFUSED'],
  [16, 'NO_PATH'],
  [17, 'TARGET_UNREACHABLE'],
  [18, 'PORT_IN_USE'],
  [19, 'USAGE'],
];

const toWire = new Map(WIRE_CODES.map(([wire, code]) => [code, wire]));
const fromWire = new Map(WIRE_CODES);

/** A code without a number of its own travels as `STREAM_RESET`; no code as 0. */
export function wireCode(code: ErrorCode | undefined): number {
  if (code === undefined) return 0;
  return toWire.get(code) ?? 7;
}

/** A number this version does not know reads as `STREAM_RESET`; 0 as no code. */
export function errorCodeOf(wire: number): ErrorCode | undefined {
  if (wire === 0) return undefined;
  return fromWire.get(wire) ?? 'STREAM_RESET';
}
