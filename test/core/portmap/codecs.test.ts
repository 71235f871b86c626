import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SallyportError } from '../../../src/core/errors.ts';
import {
  decodeNatPmpResponse,
  encodeNatPmpAddressRequest,
  encodeNatPmpMappingRequest,
} from '../../../src/core/portmap/nat-pmp.ts';
import {
  checkPcpAnnounce,
  decodePcpMapResponse,
  encodePcpMapRequest,
} from '../../../src/core/portmap/pcp.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));

const mapping = {
  transport: 'udp',
  internalPort: 5_000,
  externalPort: 40_000,
  lifetimeSeconds: 3_600,
} as const;
const request = { ...mapping, clientAddress: '192.168.1.2', nonce: new Uint8Array(12).fill(0xab) };

/** What a PCP server answers: the request with R bit, result, and what it assigned. */
function pcpResponse({ result = 0, nonce = request.nonce, port = 41_000 } = {}): Uint8Array {
  const response = encodePcpMapRequest({ ...request, nonce });
  const view = new DataView(response.buffer);
  response[1] = 0x81;
  response[3] = result;
  view.setUint32(4, 120);
  view.setUint16(42, port);
  response.set(bytes('0000 0000 0000 0000 0000 ffff 2c800101'), 44);
  return response;
}

/** The failures that are not typed ones, over random input, every truncation and single changed bytes; there must be none. */
function foreignFailures(read: (input: Uint8Array) => unknown, valid: Uint8Array): unknown[] {
  const found: unknown[] = [];
  const attempt = (input: Uint8Array): void => {
    try {
      read(input);
    } catch (error) {
      const code = error instanceof SallyportError ? error.code : undefined;
      if (code !== 'PROTOCOL_ERROR' && code !== 'UNSUPPORTED') found.push(error);
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1_200 }), attempt));
  for (let length = 0; length <= valid.length; length++) attempt(valid.subarray(0, length));
  const flips = fc.tuple(fc.nat(valid.length - 1), fc.nat(255));
  fc.assert(fc.property(flips, ([at, value]) => attempt(valid.with(at, value))));
  return found;
}

describe('NAT-PMP (RFC 6886)', () => {
  it('asks in the bytes of §3.2 and §3.3', () => {
    expect(hex(encodeNatPmpAddressRequest())).toBe('0000');
    expect(hex(encodeNatPmpMappingRequest(mapping))).toBe('0001000013889c4000000e10');
    const deletion = { ...mapping, transport: 'tcp', lifetimeSeconds: 0 } as const;
    expect(hex(encodeNatPmpMappingRequest(deletion))).toBe('000200001388000000000000');
  });

  it('reads addresses, mappings and refusals', () => {
    expect(decodeNatPmpResponse(bytes('0080 0000 00000001 2c800101'))).toEqual({
      type: 'address',
      address: '44.128.1.1',
    });
    expect(decodeNatPmpResponse(bytes('0081 0000 00000001 1388 9c40 00000078'))).toEqual({
      ...mapping,
      type: 'mapping',
      lifetimeSeconds: 120,
    });
    const refusal = bytes('0081 0002 00000001 1388 9c40 00000000');
    expect(() => decodeNatPmpResponse(refusal)).toThrow(/not authorized/);
  });

  it.each([
    ['a request', '0001 0000 13889c40 00000e10 00000e10'],
    ['another version', '0281 0000 00000001 1388 9c40 00000078'],
    ['another operation', '0083 0000 00000001 1388 9c40 00000078'],
  ])('takes %s for no answer', (_, text) => {
    expect(() => decodeNatPmpResponse(bytes(text))).toThrow(
      expect.objectContaining({ code: 'PROTOCOL_ERROR' }),
    );
  });

  it('survives a router that sends anything', () => {
    const valid = bytes('0081 0000 00000001 1388 9c40 00000078');
    expect(foreignFailures(decodeNatPmpResponse, valid)).toEqual([]);
  });
});

describe('PCP (RFC 6887)', () => {
  it('asks in the bytes of §7.1 and §11.1', () => {
    expect(hex(encodePcpMapRequest(request))).toBe(
      hex(
        bytes(
          '02 01 0000 00000e10 00000000000000000000ffffc0a80102' +
            'abababababababababababab 11 000000 1388 9c40 00000000000000000000ffff00000000',
        ),
      ),
    );
  });

  it('reads what was granted, and nothing from an answer to another request', () => {
    expect(decodePcpMapResponse(pcpResponse(), request)).toEqual({
      external: { address: '44.128.1.1', port: 41_000 },
      lifetimeSeconds: 120,
    });
    expect(decodePcpMapResponse(pcpResponse({ nonce: new Uint8Array(12) }), request)).toBe(undefined);
    const other = { ...request, transport: 'tcp' } as const;
    expect(decodePcpMapResponse(pcpResponse(), other)).toBe(undefined);
  });

  it('takes a request, another version or another operation for no answer', () => {
    for (const head of [
      [2, 1],
      [1, 0x81],
      [2, 0x80],
    ]) {
      const response = pcpResponse();
      response.set(head);
      expect(() => decodePcpMapResponse(response, request)).toThrow(
        expect.objectContaining({ code: 'PROTOCOL_ERROR' }),
      );
    }
  });

  it('tells a refusal, and a router that speaks NAT-PMP only', () => {
    expect(() => decodePcpMapResponse(pcpResponse({ result: 12 }), request)).toThrow(/another NAT/);
    expect(() => checkPcpAnnounce(bytes('0080 0001 00000000'))).toThrow(/speaks no PCP/);
  });

  it('survives a router that sends anything', () => {
    const decode = (input: Uint8Array) => decodePcpMapResponse(input, request);
    expect(foreignFailures(decode, pcpResponse())).toEqual([]);
    expect(foreignFailures(checkPcpAnnounce, bytes('0280 0000 00000000 00000001'))).toEqual([]);
  });
});
