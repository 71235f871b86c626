import { base64url, concat, fromBase64url, uint64 } from '../bytes.ts';
import { SallyportError } from '../errors.ts';
import { peerIdOf, publicKeyOf, verifySignature, type Identity, type PeerId } from '../identity.ts';

/**
 * The short-lived signed permission to open one leg of a relay circuit (docs/protocol.md, "Relay").
 * ```
 *  version 1 | leg 1 | circuit 16 | peer 32 | relay 32 | expires 8 (ms, rendezvous's clock) | rate 4 (bytes/s, 0 = the relay's own) | signature 64
 * ```
 */
export interface Ticket {
  readonly circuit: Uint8Array;
  /** 0 for the session's initiator, 1 for its responder. */
  readonly leg: 0 | 1;
  readonly peer: PeerId;
  readonly relay: PeerId;
  readonly expires: number;
  readonly bytesPerSecond: number;
}

/** A ticket together with the opener's proof that it is the peer named in it. */
export interface TicketOpening {
  readonly ticket: Ticket;
  /** The ticket's own bytes, signature included. */
  readonly bytes: Uint8Array;
  /** 16 bytes; one (ticket, random) opens once. */
  readonly random: Uint8Array;
}

const VERSION = 1;
const BODY_BYTES = 94;
export const TICKET_BYTES = BODY_BYTES + 64;
const OPENING_BYTES = TICKET_BYTES + 16 + 64;

export function issueTicket(rendezvous: Identity, ticket: Ticket): Uint8Array {
  const rate = new Uint8Array(4);
  new DataView(rate.buffer).setUint32(0, ticket.bytesPerSecond);
  const body = concat(
    Uint8Array.of(VERSION, ticket.leg),
    ticket.circuit,
    publicKeyOf(ticket.peer),
    publicKeyOf(ticket.relay),
    uint64(ticket.expires),
    rate,
  );
  return concat(body, rendezvous.sign('ticket', body));
}

/** @throws SallyportError `TICKET_INVALID` when it isn't one, or not signed by `rendezvous` */
export function readTicket(bytes: Uint8Array, rendezvous: PeerId): Ticket {
  const body = bytes.subarray(0, BODY_BYTES);
  const leg = bytes[1];
  if (bytes.length !== TICKET_BYTES || bytes[0] !== VERSION || (leg !== 0 && leg !== 1)) {
    throw new SallyportError('TICKET_INVALID', 'not a relay ticket');
  }
  if (!verifySignature(rendezvous, bytes.subarray(BODY_BYTES), 'ticket', body)) {
    throw new SallyportError('TICKET_INVALID', 'the ticket was not issued by this deployment');
  }
  return ticketBody(body, leg);
}

/** The fields of a ticket whose signature its reader can't or needn't check (a peer reads its own). */
export function peekTicket(bytes: Uint8Array): Ticket {
  const leg = bytes[1];
  if (bytes.length !== TICKET_BYTES || bytes[0] !== VERSION || (leg !== 0 && leg !== 1)) {
    throw new SallyportError('TICKET_INVALID', 'not a relay ticket');
  }
  return ticketBody(bytes.subarray(0, BODY_BYTES), leg);
}

/** What travels to the relay: ticket ‖ random ‖ the opener's signature, base64url. */
export function signOpening(
  peer: Identity,
  ticket: Uint8Array,
  random: Uint8Array,
  exporter: Uint8Array,
): string {
  const signature = peer.sign('ticket opening', ticket, random, exporter);
  return base64url(concat(ticket, random, signature));
}

/**
 * Checks an opening as a relay does; freshness of `random` is the caller's to remember.
 * @param exporter keying material of the TLS connection it came over; empty on a cleartext one
 * @throws SallyportError `TICKET_INVALID`, `TICKET_EXPIRED`
 */
export function readOpening(
  text: string,
  {
    rendezvous,
    relay,
    exporter,
    now,
  }: { rendezvous: PeerId; relay: PeerId; exporter: Uint8Array; now: number },
): TicketOpening {
  const opening = fromBase64url(text);
  if (opening.length !== OPENING_BYTES) throw new SallyportError('TICKET_INVALID', 'not a ticket opening');
  const bytes = opening.subarray(0, TICKET_BYTES);
  const random = opening.subarray(TICKET_BYTES, TICKET_BYTES + 16);
  const ticket = readTicket(bytes, rendezvous);
  if (ticket.relay !== relay) throw new SallyportError('TICKET_INVALID', 'the ticket is for another relay');
  if (now > ticket.expires) throw new SallyportError('TICKET_EXPIRED', 'the ticket has expired');
  const signature = opening.subarray(TICKET_BYTES + 16);
  if (!verifySignature(ticket.peer, signature, 'ticket opening', bytes, random, exporter)) {
    throw new SallyportError('TICKET_INVALID', 'the ticket belongs to another peer');
  }
  return { ticket, bytes, random };
}

function ticketBody(body: Uint8Array, leg: 0 | 1): Ticket {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  return {
    leg,
    circuit: body.slice(2, 18),
    peer: peerIdOf(body.subarray(18, 50)),
    relay: peerIdOf(body.subarray(50, 82)),
    expires: Number(view.getBigUint64(82)),
    bytesPerSecond: view.getUint32(90),
  };
}
