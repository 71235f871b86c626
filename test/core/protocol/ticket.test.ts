import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { identityFromSeed } from '../../../src/core/identity.ts';
import {
  issueTicket,
  peekTicket,
  readOpening,
  readTicket,
  signOpening,
  TICKET_BYTES,
} from '../../../src/core/protocol/ticket.ts';

const rendezvous = identityFromSeed(new Uint8Array(32).fill(1));
const relay = identityFromSeed(new Uint8Array(32).fill(2));
const peer = identityFromSeed(new Uint8Array(32).fill(3));
const stranger = identityFromSeed(new Uint8Array(32).fill(4));

const fields = {
  leg: 0 as const,
  circuit: new Uint8Array(16).fill(5),
  peer: peer.id,
  relay: relay.id,
  expires: 1_700_000_000_000,
  bytesPerSecond: 12_345,
};
const ticket = issueTicket(rendezvous, fields);
const random = new Uint8Array(16).fill(6);
const exporter = new Uint8Array(32).fill(7);
const check = { rendezvous: rendezvous.id, relay: relay.id, exporter, now: fields.expires - 1 };

describe('a ticket', () => {
  it('says what was signed', () => {
    expect(ticket).toHaveLength(TICKET_BYTES);
    expect(readTicket(ticket, rendezvous.id)).toEqual(fields);
    expect(peekTicket(ticket)).toEqual(fields);
  });

  it('opens for its peer, at its relay, over its connection, until it expires', () => {
    const opening = signOpening(peer, ticket, random, exporter);
    expect(readOpening(opening, check)).toMatchObject({ ticket: fields, random });
    const refused = (code: string, change: Partial<typeof check>) =>
      expect(() => readOpening(opening, { ...check, ...change })).toThrow(expect.objectContaining({ code }));
    refused('TICKET_EXPIRED', { now: fields.expires + 1 });
    refused('TICKET_INVALID', { relay: stranger.id });
    refused('TICKET_INVALID', { rendezvous: stranger.id });
    refused('TICKET_INVALID', { exporter: new Uint8Array(32) });
  });

  it('is of no use to another peer', () => {
    const opening = signOpening(stranger, ticket, random, exporter);
    expect(() => readOpening(opening, check)).toThrow(expect.objectContaining({ code: 'TICKET_INVALID' }));
  });

  it('is refused typed whatever the bytes', () => {
    fc.assert(
      fc.property(fc.base64String(), (text) => {
        expect(() => readOpening(text, check)).toThrow(expect.objectContaining({ code: 'TICKET_INVALID' }));
      }),
    );
    fc.assert(
      fc.property(fc.nat(TICKET_BYTES - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const forged = Uint8Array.from(ticket);
        forged[at]! ^= flip;
        expect(() => readTicket(forged, rendezvous.id)).toThrow(
          expect.objectContaining({ code: 'TICKET_INVALID' }),
        );
      }),
    );
  });
});
