import { utf8 } from '../bytes.ts';
import type { Endpoint } from '../endpoint.ts';
import type { Identity, PeerId } from '../identity.ts';
import type { Instant } from '../machine.ts';
import { attest } from '../protocol/attestation.ts';
import type { Transport } from '../punch/candidate.ts';
import { decodeStun, encodeStun, looksLikeStun, verifyIntegrity, type StunMessage } from './message.ts';
import { networkOf, RateTable } from './rate-table.ts';

/** A registration's STUN credentials. */
export interface StunPeer {
  readonly peer: PeerId;
  /** The MESSAGE-INTEGRITY key, 32 bytes. */
  readonly key: Uint8Array;
}

/** Where a request came in, in the server's public addresses. */
export interface StunLocal {
  /** `undefined` where the server doesn't know its own address. */
  readonly address: string | undefined;
  readonly port: number;
  /** The server's second address, if it has one: then it can answer from there (RFC 5780). */
  readonly otherAddress: string | undefined;
  readonly otherPort: number;
}

export interface StunArrival {
  readonly transport: Transport;
  readonly from: Endpoint;
  readonly on: StunLocal;
}

export interface StunReply {
  readonly bytes: Uint8Array;
  /** Which of the server's addresses and ports the reply leaves from, seen from where the request arrived. */
  readonly change: { readonly address: boolean; readonly port: boolean };
  readonly authenticated: boolean;
}

export interface StunResponderOptions {
  /** Signs the attestations. */
  readonly deployment: Identity;
  lookup(username: string): StunPeer | undefined;
  /** Any secret number; see `RateTable`. */
  readonly seed: number;
}

/** What a stranger is sent at most; a plain reply with three IPv6 addresses has 92 bytes. */
export const STRANGER_REPLY_BYTES = 96;

const UNCHANGED = { address: false, port: false } as const;

/**
 * Answers Binding requests (RFC 8489, RFC 5780; docs/protocol.md, "STUN"): a registered peer gets an attestation of the
 * source it was seen at, in a reply that is no longer than its request; a stranger gets a short plain reply, five a
 * second for each network.
 */
export class StunResponder {
  readonly #options: StunResponderOptions;
  readonly #strangers: RateTable;
  readonly #peers: RateTable;

  constructor(options: StunResponderOptions) {
    this.#options = options;
    this.#strangers = new RateTable({ perSecond: 5, burst: 5, seed: options.seed });
    this.#peers = new RateTable({ perSecond: 50, burst: 100, seed: options.seed });
  }

  /**
   * The reply to one datagram or TCP message; `undefined` where silence is the answer. Never throws.
   * @param now milliseconds on the clock that attestations are dated by
   */
  respond(bytes: Uint8Array, arrival: StunArrival, now: Instant): StunReply | undefined {
    const request = readRequest(bytes);
    if (!request) return undefined;
    const peer = this.#authenticate(request, bytes);
    if (!peer) return this.#replyToStranger(request, bytes.length, arrival, now);
    if (!this.#peers.take(utf8(request.username!), now)) return undefined;
    return this.#replyToPeer(request, bytes.length, peer, arrival, now);
  }

  #authenticate({ username }: StunMessage, bytes: Uint8Array): StunPeer | undefined {
    const peer = username === undefined ? undefined : this.#options.lookup(username);
    return peer && verifyIntegrity(bytes, peer.key) ? peer : undefined;
  }

  #replyToPeer(
    request: StunMessage,
    budget: number,
    { peer, key }: StunPeer,
    arrival: StunArrival,
    now: Instant,
  ): StunReply | undefined {
    const { transport, from } = arrival;
    const attestation = attest(this.#options.deployment, peer, transport, from, now);
    const success = successFor(request, arrival);
    const bytes = encodeStun(success ? { ...success, attestation } : unsupported(request), {
      key,
      fingerprint: true,
    });
    if (transport === 'udp' && bytes.length > budget) return undefined;
    return { bytes, change: changeOf(request, arrival), authenticated: true };
  }

  #replyToStranger(
    request: StunMessage,
    requestLength: number,
    arrival: StunArrival,
    now: Instant,
  ): StunReply | undefined {
    if (!this.#strangers.take(networkOf(arrival.from.address), now)) return undefined;
    // RFC 8489 §9.1.3: credentials that don't check out are refused, not overlooked.
    const refused: StunMessage = { class: 'error', transactionId: request.transactionId, errorCode: 401 };
    const reply = request.username === undefined ? successFor(request, arrival) : refused;
    const bytes = encodeStun(reply ?? unsupported(request));
    const change = changeOf(request, arrival);
    const budget = change.address || change.port ? requestLength : STRANGER_REPLY_BYTES;
    if (bytes.length > budget) return undefined;
    return { bytes, change, authenticated: false };
  }
}

function readRequest(bytes: Uint8Array): StunMessage | undefined {
  if (!looksLikeStun(bytes)) return undefined;
  try {
    const message = decodeStun(bytes);
    return message.class === 'request' ? message : undefined;
  } catch {
    return undefined;
  }
}

/** `undefined` where the request wants the other address and there is none (RFC 5780 §6.1). */
function successFor(request: StunMessage, arrival: StunArrival): StunMessage | undefined {
  const { from, on, transport } = arrival;
  if (transport === 'udp' && request.change?.address && on.otherAddress === undefined) return undefined;
  const change = changeOf(request, arrival);
  const origin = {
    address: change.address ? on.otherAddress : on.address,
    port: change.port ? on.otherPort : on.port,
  };
  const other = { address: on.otherAddress, port: on.otherPort };
  return {
    class: 'success',
    transactionId: request.transactionId,
    mapped: from,
    origin: isKnown(origin) ? origin : undefined,
    other: isKnown(other) ? other : undefined,
  };
}

function unsupported({ transactionId }: StunMessage): StunMessage {
  return { class: 'error', transactionId, errorCode: 420 };
}

/** CHANGE-REQUEST has no meaning over TCP, and an error comes from where it was asked. */
function changeOf(request: StunMessage, { transport, on }: StunArrival): StunReply['change'] {
  const { change } = request;
  if (transport === 'tcp' || !change || (change.address && on.otherAddress === undefined)) return UNCHANGED;
  return change;
}

function isKnown(endpoint: { address: string | undefined; port: number }): endpoint is Endpoint {
  return endpoint.address !== undefined;
}
