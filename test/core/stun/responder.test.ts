import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hex } from '../../../src/core/bytes.ts';
import type { Endpoint } from '../../../src/core/endpoint.ts';
import { identityFromSeed } from '../../../src/core/identity.ts';
import { isAttested } from '../../../src/core/protocol/attestation.ts';
import { deliveryId, deliveryTag } from '../../../src/core/stun/delivery.ts';
import { decodeStun, encodeStun, verifyIntegrity } from '../../../src/core/stun/message.ts';
import { bindingRequest, readResponse } from '../../../src/core/stun/request.ts';
import {
  STRANGER_REPLY_BYTES,
  StunResponder,
  type StunArrival,
  type StunLocal,
} from '../../../src/core/stun/responder.ts';

const deployment = identityFromSeed(new Uint8Array(32).fill(1));
const peer = identityFromSeed(new Uint8Array(32).fill(2));
const credentials = { username: 'registration', key: new Uint8Array(32).fill(3) };
const id = new Uint8Array(12).fill(7);

const on: StunLocal = { address: '203.0.113.1', port: 3478, otherAddress: '203.0.113.2', otherPort: 3479 };
const from = { address: '198.51.100.10', port: 40_000 };
const arrival: StunArrival = { transport: 'udp', from, on };
const plain = encodeStun({ class: 'request', transactionId: id });

function responder() {
  const lookup = (username: string) =>
    username === credentials.username ? { peer: peer.id, key: credentials.key } : undefined;
  return new StunResponder({ deployment, lookup, seed: 5 });
}

describe('the STUN responder', () => {
  it('attests a registered peer its source, in a reply no longer than the request', () => {
    for (const source of [from, { address: '2001:db8::99', port: 1 }]) {
      const request = bindingRequest(id, credentials);
      const wide: StunArrival = {
        transport: 'udp',
        from: source,
        on:
          source === from
            ? on
            : { ...on, address: '2001:db8:1:2:3:4:5:6', otherAddress: '2001:db8:1:2:3:4:5:7' },
      };
      const reply = responder().respond(request, wide, 1_000)!;
      expect(reply.bytes.length).toBeLessThanOrEqual(request.length);
      expect(verifyIntegrity(reply.bytes, credentials.key)).toBe(true);
      const { mapped, attestation } = decodeStun(reply.bytes);
      expect(mapped).toEqual(source);
      const candidate = { type: 'srflx', transport: 'udp', endpoint: source, attestation } as const;
      expect(isAttested(candidate, peer.id, deployment.id, 1_000)).toBe(true);
    }
  });

  it('sends a peer nothing that is longer than its request was, except over TCP', () => {
    const request = { class: 'request', transactionId: id, username: credentials.username } as const;
    const short = encodeStun(request, { key: credentials.key, fingerprint: true });
    expect(responder().respond(short, arrival, 0)).toBe(undefined);
    expect(responder().respond(short, { ...arrival, transport: 'tcp' }, 0)).toMatchObject({
      authenticated: true,
    });
  });

  it('attests what arrived over TCP as TCP', () => {
    const reply = responder().respond(
      bindingRequest(id, credentials),
      { ...arrival, transport: 'tcp' },
      1_000,
    )!;
    const { mapped, attestation } = decodeStun(reply.bytes);
    const candidate = { type: 'srflx', endpoint: mapped!, attestation } as const;
    expect(isAttested({ ...candidate, transport: 'tcp' }, peer.id, deployment.id, 1_000)).toBe(true);
    expect(isAttested({ ...candidate, transport: 'udp' }, peer.id, deployment.id, 1_000)).toBe(false);
  });

  it('answers from the other address and port on request, and says where it answers from', () => {
    const ask = (change: { address: boolean; port: boolean }) => {
      const reply = responder().respond(bindingRequest(id, credentials, { change }), arrival, 0)!;
      expect(reply.change).toEqual(change);
      return readResponse(reply.bytes, credentials)?.origin;
    };
    expect(ask({ address: true, port: true })).toEqual({ address: '203.0.113.2', port: 3479 });
    expect(ask({ address: false, port: true })).toEqual({ address: '203.0.113.1', port: 3479 });
  });

  it('refuses a change of address where it has one address, and still changes the port', () => {
    const single: StunArrival = { ...arrival, on: { ...on, otherAddress: undefined } };
    const both = bindingRequest(id, credentials, { change: { address: true, port: true } });
    const reply = responder().respond(both, single, 0)!;
    expect(reply.change).toEqual({ address: false, port: false });
    expect(readResponse(reply.bytes, credentials)).toMatchObject({ class: 'error', errorCode: 420 });
    const port = bindingRequest(id, credentials, { change: { address: false, port: true } });
    const moved = responder().respond(port, single, 0)!;
    expect(moved.change).toEqual({ address: false, port: true });
    expect(decodeStun(moved.bytes).other).toBe(undefined);
  });

  it('gives strangers a plain reply of at most 96 bytes', () => {
    const long = '2001:db8:1111:2222:3333:4444:5555:6666';
    const wide: StunArrival = {
      transport: 'udp',
      from: { address: long, port: 9 },
      on: { ...on, address: long, otherAddress: long },
    };
    const reply = responder().respond(plain, wide, 0)!;
    expect(reply.bytes.length).toBeLessThanOrEqual(STRANGER_REPLY_BYTES);
    expect(decodeStun(reply.bytes)).toMatchObject({ mapped: wide.from, attestation: undefined });
  });

  it.each([
    ['both', { address: true, port: true }],
    ['address', { address: true, port: false }],
    ['port', { address: false, port: true }],
  ])('answers a stranger from elsewhere (%s) only if the request is as long as the reply', (_, change) => {
    const ask = (padTo: number) =>
      responder().respond(encodeStun({ class: 'request', transactionId: id, change }, { padTo }), arrival, 0);
    expect(ask(0)).toBe(undefined);
    expect(ask(96)?.change).toEqual(change);
  });

  it('answers five strangers a second for each /24 and /56, and no peer pays for that', () => {
    const server = responder();
    const ask = (address: string, now: number) =>
      server.respond(plain, { ...arrival, from: { address, port: 9 } }, now) !== undefined;
    const burst = Array.from({ length: 20 }, (_, i) => ask(`198.51.100.${i}`, 0));
    expect(burst.filter(Boolean).length).toBe(5);
    expect(ask('203.0.113.77', 0)).toBe(true);
    expect(ask('198.51.100.1', 200)).toBe(true);
    expect(ask('198.51.100.1', 200)).toBe(false);
    expect(server.respond(bindingRequest(id, credentials), arrival, 200)?.authenticated).toBe(true);
  });

  it('refuses credentials that do not check out, and attests nothing', () => {
    const wrong = bindingRequest(id, { ...credentials, key: new Uint8Array(32) });
    const unknown = bindingRequest(id, { ...credentials, username: 'nobody' });
    for (const request of [wrong, unknown]) {
      const reply = responder().respond(request, arrival, 0)!;
      expect(reply.authenticated).toBe(false);
      expect(decodeStun(reply.bytes)).toMatchObject({
        class: 'error',
        errorCode: 401,
        attestation: undefined,
      });
    }
  });

  it('limits what one registration may ask', () => {
    const server = responder();
    const asked = Array.from({ length: 200 }, () =>
      server.respond(bindingRequest(id, credentials), arrival, 0),
    );
    expect(asked.filter((reply) => reply !== undefined).length).toBe(100);
  });

  describe('asked to dial back over TCP', () => {
    const tcp: StunArrival = { ...arrival, transport: 'tcp' };
    const other = { change: { address: true, port: true } };
    const port = { change: { address: false, port: true } };

    it('dials the very address that asks, from another one of its own or another port', () => {
      const [a, b] = [other, port].map(
        (wish) => responder().respond(bindingRequest(id, credentials, wish), tcp, 0)?.dialBack,
      );
      expect(a).toMatchObject({ to: from, fromOtherAddress: true });
      expect(b).toMatchObject({ to: from, fromOtherAddress: false });
      const answer = readResponse(a!.answer('refused'), credentials);
      expect(answer).toMatchObject({ class: 'success', mapped: from, dialOutcome: 'refused' });
    });

    it('dials for nobody but a registered peer, and never for UDP, whose source anybody can forge', () => {
      const stranger = encodeStun({ class: 'request', transactionId: id, ...other }, { padTo: 200 });
      const wrong = bindingRequest(id, { ...credentials, key: new Uint8Array(32) }, other);
      for (const request of [stranger, wrong, bindingRequest(id, credentials)]) {
        expect(responder().respond(request, tcp, 0)?.dialBack).toBe(undefined);
      }
      const udp = responder().respond(bindingRequest(id, credentials, other), arrival, 0);
      expect(udp?.dialBack).toBe(undefined);
    });

    it('has no other address to dial from where there is none, and says nothing of an outcome', () => {
      const single: StunArrival = { ...tcp, on: { ...on, otherAddress: undefined } };
      const reply = responder().respond(bindingRequest(id, credentials, other), single, 0)!;
      expect(reply.dialBack).toBe(undefined);
      expect(readResponse(reply.bytes, credentials)).toMatchObject({ dialOutcome: undefined });
    });

    it('dials 24 times for one peer, then once in twenty seconds, and answers all the same', () => {
      const server = responder();
      const ask = (now: number) => server.respond(bindingRequest(id, credentials, other), tcp, now)!;
      const asked = Array.from({ length: 60 }, () => ask(0));
      expect(asked.filter(({ dialBack }) => dialBack).length).toBe(24);
      expect(asked.every(({ bytes }) => readResponse(bytes, credentials)?.class === 'success')).toBe(true);
      expect(ask(19_000).dialBack).toBe(undefined);
      expect(ask(21_000).dialBack).toBeDefined();
    });

    it('dials one network 240 times, however many peers ask from there', () => {
      const lookup = () => ({ peer: peer.id, key: credentials.key });
      const server = new StunResponder({ deployment, lookup, seed: 5 });
      const asked = Array.from({ length: 400 }, (_, i) => {
        const request = bindingRequest(id, { ...credentials, username: `peer ${i}` }, other);
        const source = { address: `198.51.100.${i % 250}`, port: 40_000 };
        return server.respond(request, { ...tcp, from: source }, 0)?.dialBack;
      });
      expect(asked.filter(Boolean).length).toBe(240);
    });
  });

  it('answers to another port of the same address and attests that, for registered peers only', () => {
    for (const transport of ['udp', 'tcp'] as const) {
      const request = bindingRequest(id, credentials, { responsePort: 40_007 });
      const reply = responder().respond(request, { ...arrival, transport }, 0)!;
      expect(reply.to).toEqual({ address: from.address, port: 40_007 });
      expect(reply.dialBack).toBe(undefined);
      expect(reply.bytes.length).toBeLessThanOrEqual(request.length);
      const { mapped, attestation } = decodeStun(reply.bytes);
      expect(mapped).toEqual(from);
      const proves = (endpoint: Endpoint) =>
        isAttested({ type: 'mapped', transport, endpoint, attestation }, peer.id, deployment.id, 0);
      expect([proves(reply.to), proves(from)]).toEqual([true, false]);
    }
    const stranger = encodeStun(
      { class: 'request', transactionId: id, responsePort: 40_007 },
      { padTo: 200 },
    );
    const refusal = responder().respond(stranger, arrival, 0)!;
    expect([decodeStun(refusal.bytes).errorCode, refusal.to]).toEqual([420, from]);
  });

  it('answers to other ports seldom, and never to one below 1024', () => {
    const low = bindingRequest(id, credentials, { responsePort: 1_023 });
    expect(responder().respond(low, arrival, 0)).toBe(undefined);
    const server = responder();
    const request = bindingRequest(id, credentials, { responsePort: 1_024 });
    const answered = Array.from({ length: 50 }, () => server.respond(request, arrival, 0));
    expect(answered.filter((reply) => reply !== undefined)).toHaveLength(16);
    expect(server.respond(request, arrival, 1_000)).not.toBe(undefined);
  });

  it('answers to no other port of an address that many share inside, unless it is reached at such a one', () => {
    const request = bindingRequest(id, credentials, { responsePort: 40_007 });
    const reaches = (address: string, local: string | undefined, transport: 'udp' | 'tcp') => {
      const here = { ...on, address: local };
      const asked = { transport, from: { address, port: 40_000 }, on: here };
      return responder().respond(request, asked, 0) !== undefined;
    };
    const inner = ['127.0.0.1', '10.0.0.9', '100.64.0.9', '169.254.0.9', '::1', 'fd00::9', 'fe80::9'];
    for (const transport of ['udp', 'tcp'] as const) {
      for (const address of [...inner, on.address!, on.otherAddress!])
        expect([address, reaches(address, on.address, transport)]).toEqual([address, false]);
      for (const address of inner) expect(reaches(address, undefined, transport)).toBe(false);
      expect(reaches('127.0.0.1', '127.0.0.1', transport)).toBe(true);
      expect(reaches('192.168.1.2', '10.0.0.1', transport)).toBe(true);
      expect(reaches('10.0.0.1', '10.0.0.1', transport)).toBe(false);
      expect(reaches('127.0.0.1', '10.0.0.1', transport)).toBe(false);
      expect(reaches(from.address, undefined, transport)).toBe(true);
    }
  });

  it('answers to no other port of its own host, whatever the outside calls that', () => {
    const lookup = () => ({ peer: peer.id, key: credentials.key });
    const isOwn = (address: string) => address === from.address;
    const server = new StunResponder({ deployment, lookup, seed: 5, isOwn });
    const request = bindingRequest(id, credentials, { responsePort: 40_007 });
    expect(server.respond(request, arrival, 0)).toBe(undefined);
    expect(server.respond(bindingRequest(id, credentials), arrival, 0)).toBeDefined();
  });

  it('lets the asker choose no byte of what is delivered over TCP', () => {
    const chosen = Buffer.from('FLUSHALL\r\n\r\n');
    const request = bindingRequest(chosen, credentials, { responsePort: 40_007 });
    const { bytes } = responder().respond(request, { ...arrival, transport: 'tcp' }, 0)!;
    const sent = Buffer.concat([deliveryTag(request), bytes]);
    expect(sent.includes(chosen)).toBe(false);
    expect(decodeStun(bytes).transactionId).toEqual(deliveryId(chosen));
    expect(hex(deliveryTag(request))).toMatch(/^[0-9a-f]{24}2112a442$/);
    expect(hex(deliveryTag(request))).not.toContain(hex(deliveryId(chosen)));
    const direct = responder().respond(bindingRequest(chosen, credentials), arrival, 0)!;
    expect(hex(decodeStun(direct.bytes).transactionId)).toBe(hex(chosen));
  });

  it('is silent on everything that is not a request, and never throws', () => {
    const server = responder();
    const response = encodeStun({ class: 'success', transactionId: id, mapped: from });
    expect(server.respond(response, arrival, 0)).toBe(undefined);
    const silent = (bytes: Uint8Array) => server.respond(bytes, arrival, 0) === undefined;
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), silent), { numRuns: 2_000 });
    const flips = fc.tuple(fc.nat(199), fc.nat(255), fc.nat(199), fc.nat(255));
    fc.assert(
      fc.property(flips, ([i, a, j, b]) => {
        const bytes = bindingRequest(id, credentials);
        bytes[i] = a;
        bytes[j] = b;
        const reply = server.respond(bytes, arrival, 0);
        expect(reply?.bytes.length ?? 0).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 2_000 },
    );
  });
});
