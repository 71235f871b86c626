import { addressBytes, canonicalAddress } from '../address.ts';
import { equalBytes } from '../bytes.ts';
import { SallyportError } from '../errors.ts';
import type { MappingGrant, MappingRequest } from './mapping.ts';
import { wireReader, type WireReader } from './reader.ts';

/** What a MAP request has to say beside the mapping itself. */
export interface PcpRequest extends MappingRequest {
  /** This host's own address towards the router: the router refuses when it sees another one (a NAT between). */
  readonly clientAddress: string;
  /** 12 bytes that stay the same for as long as the mapping is kept: they authorise its change. */
  readonly nonce: Uint8Array;
}

/**
 * A Port Control Protocol MAP request (RFC 6887 §7.1, §11.1) to UDP port 5351 of the router, 60 bytes:
 * ```
 *  02 | 01 MAP | reserved (2) | lifetime (4) | client address (16)
 *  nonce (12) | protocol (1: 17 or 6) | reserved (3) | internal port (2) | external port (2) | external address (16)
 * ```
 * Addresses are IPv6 or IPv4-mapped; integers big endian; lifetime in seconds, 0 deletes.
 */
export function encodePcpMapRequest(request: PcpRequest): Uint8Array {
  const bytes = new Uint8Array(LENGTH);
  const view = new DataView(bytes.buffer);
  bytes[0] = VERSION;
  bytes[1] = OP_MAP;
  view.setUint32(4, request.lifetimeSeconds);
  bytes.set(ipv6Bytes(request.clientAddress), 8);
  bytes.set(request.nonce, 24);
  bytes[36] = protocolNumber(request);
  view.setUint16(40, request.internalPort);
  view.setUint16(42, request.lifetimeSeconds === 0 ? 0 : request.externalPort);
  bytes.set(ipv6Bytes('0.0.0.0'), 44);
  return bytes;
}

/** An ANNOUNCE request (RFC 6887 §14.1), 24 bytes: asks whether the router speaks PCP, and changes nothing. */
export function encodePcpAnnounce(clientAddress: string): Uint8Array {
  const bytes = new Uint8Array(24);
  bytes[0] = VERSION;
  bytes.set(ipv6Bytes(clientAddress), 8);
  return bytes;
}

/** @throws SallyportError `UNSUPPORTED` or `PROTOCOL_ERROR` unless it says that the router speaks PCP to us */
export function checkPcpAnnounce(bytes: Uint8Array): void {
  readHead(bytes, OP_ANNOUNCE);
}

/**
 * Reads a MAP response (RFC 6887 §7.2), which repeats the request with the router's values:
 * ```
 *  02 | 81 | reserved (1) | result (1) | lifetime (4) | epoch (4) | reserved (12) | as the request from its nonce on
 * ```
 * `undefined` where it answers another request.
 * @throws SallyportError `UNSUPPORTED` where the router refuses or speaks NAT-PMP only; `PROTOCOL_ERROR` on anything
 * else than a PCP response
 */
export function decodePcpMapResponse(bytes: Uint8Array, request: PcpRequest): MappingGrant | undefined {
  const read = readHead(bytes, OP_MAP);
  const externalPort = read.uint16(42);
  if (bytes.length < LENGTH) throw read.malformed('it is too short');
  const isOurs =
    equalBytes(bytes.subarray(24, 36), request.nonce) &&
    read.uint8(36) === protocolNumber(request) &&
    read.uint16(40) === request.internalPort;
  if (!isOurs) return undefined;
  return {
    external: { address: addressText(bytes.subarray(44, 60)), port: externalPort },
    lifetimeSeconds: read.uint32(4),
  };
}

function readHead(bytes: Uint8Array, expected: number): WireReader {
  const read = wireReader(bytes, 'a PCP response');
  const [version, op] = [read.uint8(0), read.uint8(1)];
  // A router that knows NAT-PMP only answers in its own version (RFC 6886 §3.5, RFC 6887 §9).
  if (version === 0 && op >= 0x80) throw new SallyportError('UNSUPPORTED', 'the router speaks no PCP');
  if (version !== VERSION || op !== (0x80 | expected)) throw read.malformed('its head says otherwise');
  const result = read.uint8(3);
  if (result === 0) return read;
  throw new SallyportError(
    'UNSUPPORTED',
    `the router refuses by PCP: ${RESULTS[result] ?? `result ${result}`}`,
  );
}

function protocolNumber({ transport }: MappingRequest): number {
  return transport === 'udp' ? 17 : 6;
}

function ipv6Bytes(address: string): Uint8Array {
  const bytes = addressBytes(address);
  if (bytes.length === 16) return bytes;
  return Uint8Array.from([...MAPPED_PREFIX, ...bytes]);
}

/** An IPv4-mapped address comes out as IPv4. */
function addressText(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  return canonicalAddress(groups.join(':'));
}

const VERSION = 2;
const OP_ANNOUNCE = 0;
const OP_MAP = 1;
const LENGTH = 60;
/** ::ffff:0:0/96 */
const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** RFC 6887 §7.4. */
const RESULTS: Readonly<Record<number, string>> = {
  1: 'this version is not supported',
  2: 'not authorized',
  3: 'malformed request',
  4: 'unsupported opcode',
  5: 'unsupported option',
  6: 'malformed option',
  7: 'it has no external address',
  8: 'out of resources',
  9: 'unsupported protocol',
  10: 'quota exceeded',
  11: 'the external port cannot be had',
  12: 'there is another NAT between this host and the router',
  13: 'too many remote peers',
};
