import { SallyportError } from '../errors.ts';
import type { Transport } from '../punch/candidate.ts';
import type { MappingRequest } from './mapping.ts';
import { wireReader } from './reader.ts';

/**
 * NAT-PMP (RFC 6886 §3): a router is asked on UDP port 5351.
 * ```
 *  external address   request   00 | 00
 *                     response  00 | 80 | result (2) | epoch (4) | external address (4)
 *  mapping            request   00 | op | reserved (2) | internal port (2) | external port (2) | lifetime (4)
 *                     response  00 | op+80 | result (2) | epoch (4) | internal (2) | external (2) | lifetime (4)
 * ```
 * `op` is 1 for UDP, 2 for TCP; lifetimes in seconds, 0 deletes. Integers are big endian.
 */
export type NatPmpResponse =
  | { readonly type: 'address'; readonly address: string }
  | {
      readonly type: 'mapping';
      readonly transport: Transport;
      readonly internalPort: number;
      readonly externalPort: number;
      readonly lifetimeSeconds: number;
    };

export function encodeNatPmpAddressRequest(): Uint8Array {
  return Uint8Array.of(0, 0);
}

/** `externalPort` is a wish; a lifetime of 0 deletes the mapping. */
export function encodeNatPmpMappingRequest(request: MappingRequest): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  bytes[1] = request.transport === 'udp' ? OP_UDP : OP_TCP;
  view.setUint16(4, request.internalPort);
  view.setUint16(6, request.lifetimeSeconds === 0 ? 0 : request.externalPort);
  view.setUint32(8, request.lifetimeSeconds);
  return bytes;
}

/**
 * @throws SallyportError `UNSUPPORTED` where the router refuses, saying why; `PROTOCOL_ERROR` on anything else than a
 * NAT-PMP response
 */
export function decodeNatPmpResponse(bytes: Uint8Array): NatPmpResponse {
  const read = wireReader(bytes, 'a NAT-PMP response');
  const [version, op, result] = [read.uint8(0), read.uint8(1), read.uint16(2)];
  if (version !== 0 || op < RESPONSE || op > RESPONSE + OP_TCP)
    throw read.malformed('its head says otherwise');
  if (result !== 0) {
    const reason = RESULTS[result] ?? `result ${result}`;
    throw new SallyportError('UNSUPPORTED', `the router refuses by NAT-PMP: ${reason}`);
  }
  if (op === RESPONSE) return { type: 'address', address: read.ipv4(8) };
  return {
    type: 'mapping',
    transport: op === RESPONSE + OP_UDP ? 'udp' : 'tcp',
    internalPort: read.uint16(8),
    externalPort: read.uint16(10),
    lifetimeSeconds: read.uint32(12),
  };
}

const OP_UDP = 1;
const OP_TCP = 2;
const RESPONSE = 0x80;

/** RFC 6886 §3.5. */
const RESULTS: Readonly<Record<number, string>> = {
  1: 'this version is not supported',
  2: 'not authorized',
  3: 'it has no external address',
  4: 'out of resources',
  5: 'unsupported opcode',
};
