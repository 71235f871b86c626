import { SallyportError } from '../errors.ts';

export interface WireReader {
  uint8(offset: number): number;
  uint16(offset: number): number;
  uint32(offset: number): number;
  ipv4(offset: number): string;
  malformed(reason: string): SallyportError;
}

/** Reads big-endian integers of what a router sent; whatever lies behind its end is a `PROTOCOL_ERROR`. */
export function wireReader(bytes: Uint8Array, what: string): WireReader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const malformed = (reason: string) => new SallyportError('PROTOCOL_ERROR', `not ${what}: ${reason}`);
  const within = (offset: number, length: number): number => {
    if (offset + length > bytes.length) throw malformed('it is too short');
    return offset;
  };
  return {
    uint8: (offset) => view.getUint8(within(offset, 1)),
    uint16: (offset) => view.getUint16(within(offset, 2)),
    uint32: (offset) => view.getUint32(within(offset, 4)),
    ipv4: (offset) => bytes.subarray(within(offset, 4), offset + 4).join('.'),
    malformed,
  };
}
