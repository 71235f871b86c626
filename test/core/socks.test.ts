import { assert, constantFrom, property, uint8Array } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat, utf8 } from '../../src/core/bytes.ts';
import {
  readDatagram,
  readGreeting,
  readRequest,
  reply,
  replyFor,
  writeDatagram,
} from '../../src/core/socks.ts';
import { failTyped } from './typed-failures.ts';

const name = utf8('example.com');
const REQUESTS = [
  ['IPv4', [5, 1, 0, 1, 192, 0, 2, 7, 0, 80], { host: '192.0.2.7', port: 80 }],
  [
    'IPv6',
    [5, 1, 0, 4, 0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), 1, 1, 187],
    { host: '2001:db8::1', port: 443 },
  ],
  ['a name', [5, 1, 0, 3, name.length, ...name, 0x1f, 0x90], { host: 'example.com', port: 8080 }],
] as const;

describe('SOCKS5 (RFC 1928)', () => {
  it('reads which methods a client offers, once all are there', () => {
    expect(readGreeting(Uint8Array.of(5, 2, 0))).toBeUndefined();
    expect(readGreeting(Uint8Array.of(5, 2, 0, 2, 9))).toEqual({ value: [0, 2], length: 4 });
  });

  it('says of SOCKS4 what it is not', () => {
    expect(() => readGreeting(Uint8Array.of(4, 1))).toThrow(
      expect.objectContaining({ code: 'PROTOCOL_ERROR' }),
    );
  });

  it.each(REQUESTS)('reads a request to %s, whole and no sooner', (_, bytes, address) => {
    const request = Uint8Array.from(bytes);
    for (let length = 0; length < request.length; length += 1)
      expect(readRequest(request.subarray(0, length))).toBeUndefined();
    const more = concat(request, Uint8Array.of(1, 2));
    expect(readRequest(more)).toEqual({ value: { command: 1, address }, length: request.length });
  });

  it('knows a type of address that it does not know', () => {
    expect(readRequest(Uint8Array.of(5, 1, 0, 9, 1, 1))?.value.address).toBeUndefined();
  });

  it('writes replies that the wire has, the bound endpoint with them', () => {
    expect([...reply(0, { host: '127.0.0.1', port: 258 })]).toEqual([5, 0, 0, 1, 127, 0, 0, 1, 1, 2]);
    expect([...reply(7)]).toEqual([5, 7, 0, 1, 0, 0, 0, 0, 0, 0]);
  });

  it.each([
    ['NOT_AUTHORIZED', 2],
    ['TARGET_REFUSED', 5],
    ['TARGET_UNREACHABLE', 4],
    ['PEER_LOST', 3],
    ['INTERNAL', 1],
  ] as const)('tells a client of %s by code %i', (code, expected) => {
    expect(replyFor(code)).toBe(expected);
  });

  it('carries datagrams with their address, and drops fragments', () => {
    assert(
      property(uint8Array(), constantFrom('192.0.2.1', '2001:db8::5', 'name.example'), (data, host) => {
        const bytes = writeDatagram({ host, port: 53 }, data);
        expect(readDatagram(bytes)).toEqual({ address: { host, port: 53 }, data });
        bytes[2] = 1;
        expect(readDatagram(bytes)).toBeUndefined();
      }),
    );
  });

  it('throws nothing but a typed error, whatever comes', () => {
    const bytes = uint8Array({ maxLength: 40 });
    expect(() => failTyped(bytes, readGreeting, readRequest, readDatagram)).not.toThrow();
  });
});
