import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SallyportError } from '../../../src/core/errors.ts';
import { decodeToNode, decodeToRendezvous, encodeMessage } from '../../../src/core/protocol/rendezvous.ts';

const session = new Uint8Array(16).fill(1);
const id = new Uint8Array(32).fill(2);

describe('signalling messages', () => {
  it('are read as they were written, unknown fields ignored', () => {
    const offer = { t: 'offer' as const, session, to: id, noise: new Uint8Array(100) };
    const decoded = decodeToRendezvous(encodeMessage({ ...offer, future: 1 } as never));
    expect(decoded).toMatchObject({ t: 'offer' });
    expect(decoded).not.toHaveProperty('future');
  });

  it('are refused when longer than a control message may be', () => {
    expect(() => decodeToRendezvous(new Uint8Array(16 * 1024 + 1))).toThrow(
      expect.objectContaining({ code: 'LIMIT' }),
    );
  });

  it('are refused typed whatever the bytes', () => {
    const bomb = Buffer.from('dd00ffffff'.repeat(20), 'hex');
    const samples = fc.oneof(fc.uint8Array({ maxLength: 400 }), fc.constant(new Uint8Array(bomb)));
    fc.assert(
      fc.property(samples, (bytes) => {
        expect(failureOf(() => decodeToNode(bytes))).toBeOneOf([undefined, 'LIMIT', 'PROTOCOL_ERROR']);
        expect(failureOf(() => decodeToRendezvous(bytes))).toBeOneOf([undefined, 'LIMIT', 'PROTOCOL_ERROR']);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ['a time without end', { t: 'pong', sent: 1, time: Infinity }],
    ['a time before all', { t: 'pong', sent: 1, time: -1 }],
    ['a pause of a month', { t: 'restarting', reconnectInMs: 2_592_000_000 }],
    ['a relay at no URL', { t: 'relays', relays: [{ id, url: 'not a url' }] }],
    ['a relay at half a URL', { t: 'relays', relays: [{ id, url: 'http://[' }] }],
    ['a relay at a file', { t: 'relays', relays: [{ id, url: 'file:///etc/passwd' }] }],
    ['two STUN servers of a relay', { t: 'relays', relays: [{ id, url: '', stun: [stun, stun] }] }],
    ['nine relays', { t: 'relays', relays: Array.from({ length: 9 }, () => ({ id, url: '' })) }],
    ['three tickets', { t: 'renewed', session, tickets: [id, id, id] }],
    ['a box of 5 KiB', { t: 'trickle', session, from: id, instance: session, box: new Uint8Array(5_120) }],
    ['a STUN server at port 99999', registeredWith({ address: '', port: 99_999 })],
    ['a STUN server at a name', registeredWith({ address: 'localhost', port: 3_478 })],
  ])('to a node are refused with %s', (_, message) => {
    expect(failureOf(() => decodeToNode(encodeMessage(message as never)))).toBe('PROTOCOL_ERROR');
  });

  it.each(['', 'x', 'ftp://relay.example', 'javascript:alert(1)'])('take no relay at %j', (url) => {
    const hello = helloWith({ url, stunUdp: [], stunTcp: [] });
    expect(failureOf(() => decodeToRendezvous(encodeMessage(hello as never)))).toBe('PROTOCOL_ERROR');
  });

  it('are read into the one spelling of an address that filters judge', () => {
    const stun = [{ address: '::ffff:127.0.0.1', port: 1 }];
    const hello = decodeToRendezvous(
      encodeMessage(helloWith({ url: 'https://r', stunUdp: stun, stunTcp: [] }) as never),
    );
    expect(hello).toMatchObject({ relay: { stunUdp: [{ address: '127.0.0.1', port: 1 }] } });
  });

  it('of the wrong shape name the field', () => {
    const message = encodeMessage({
      t: 'offer',
      session: new Uint8Array(3),
      to: id,
      noise: new Uint8Array(),
    } as never);
    expect(() => decodeToRendezvous(message)).toThrow(/session expected 16 bytes/);
  });
});

const stun = { address: '203.0.113.1', port: 3_478 };

function registeredWith(server: { address: string; port: number }) {
  const stun = { username: 'u', key: id, udp: [server], tcp: [] };
  return { t: 'registered', leaseMs: 1, time: 1, stun, relays: [] };
}

function helloWith(relay: object) {
  const [nonce, boot, instance] = [id, session, session];
  return { t: 'hello', version: 1, id, role: 'relay', nonce, boot, instance, relay };
}

/** `undefined` where nothing is thrown. */
function failureOf(read: () => unknown): unknown {
  try {
    read();
    return undefined;
  } catch (thrown) {
    return thrown instanceof SallyportError ? thrown.code : thrown;
  }
}
