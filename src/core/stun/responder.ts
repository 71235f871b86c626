import { scopeOf } from '../address.ts';
import { utf8 } from '../bytes.ts';
import type { Endpoint } from '../endpoint.ts';
import type { Identity, PeerId } from '../identity.ts';
import type { Instant } from '../machine.ts';
import { attest } from '../protocol/attestation.ts';
import type { Transport } from '../punch/candidate.ts';
import { deliveryId } from './delivery.ts';
import {
  decodeStun,
  encodeStun,
  looksLikeStun,
  verifyIntegrity,
  type DialOutcome,
  type StunMessage,
} from './message.ts';
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
  /** Where the reply goes. */
  readonly to: Endpoint;
  readonly authenticated: boolean;
  /** To be done first; then its own answer is the reply. */
  readonly dialBack?: DialBack | undefined;
}

/**
 * A registered peer asks over TCP whether the address that it is seen at can be dialled by somebody it has not sent to.
 * Nobody is ever dialled but who asks.
 */
export interface DialBack {
  readonly to: Endpoint;
  /** From the server's other address, else from the one that was asked and any other port. */
  readonly fromOtherAddress: boolean;
  answer(outcome: DialOutcome): Uint8Array;
}

export interface StunResponderOptions {
  /** Signs the attestations. */
  readonly deployment: Identity;
  lookup(username: string): StunPeer | undefined;
  /** Any secret number; see `RateTable`. */
  readonly seed: number;
  /** Whether an address is one of this host's, whatever the outside calls the server. */
  readonly isOwn?: ((address: string) => boolean) | undefined;
}

/** What a stranger is sent at most; a plain reply with three IPv6 addresses has 92 bytes. */
export const STRANGER_REPLY_BYTES = 96;

/** Below, somebody else's DNS or NTP could be disturbed. */
const FIRST_ORDINARY_PORT = 1_024;

const UNCHANGED = { address: false, port: false } as const;

/**
 * Answers Binding requests (RFC 8489, RFC 5780; docs/protocol.md, "STUN"): a registered peer gets an attestation of the
 * source it was seen at, in a reply that is no longer than its request; a stranger gets a short plain reply, five a
 * second for each network. RESPONSE-PORT and dials back are for registered peers.
 *
 * RESPONSE-PORT (RFC 5780 §7.5) is also how a peer shows that a router leads one of its ports to it: the reply goes to
 * that port of the very address that the request came from, and attests it, so that only who is reached there gets the
 * attestation. Seldom, never to a port below 1024, and with no more bytes than came; over TCP the port is dialled, and
 * no byte that is sent there is the asker's choice. An address that means the server's own host or inner network, as
 * that of a proxy in front of it, is not answered at another port at all.
 */
export class StunResponder {
  readonly #options: StunResponderOptions;
  readonly #strangers: RateTable;
  readonly #peers: RateTable;
  readonly #diversions: RateTable;
  readonly #dialsOfPeer: RateTable;
  readonly #dialsToNetwork: RateTable;

  constructor(options: StunResponderOptions) {
    this.#options = options;
    this.#strangers = new RateTable({ perSecond: 5, burst: 5, seed: options.seed });
    this.#peers = new RateTable({ perSecond: 50, burst: 100, seed: options.seed });
    this.#diversions = new RateTable({ perSecond: 1, burst: 16, seed: options.seed });
    this.#dialsOfPeer = new RateTable({ ...DIALS_OF_PEER, seed: options.seed });
    this.#dialsToNetwork = new RateTable({ ...DIALS_TO_NETWORK, seed: options.seed });
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
    const to = { address: from.address, port: request.responsePort ?? from.port };
    const isDiverted = to.port !== from.port;
    if (isDiverted && !this.#mayDivert(request, arrival, now)) return undefined;
    const attestation = attest(this.#options.deployment, peer, transport, to, now);
    const success = successFor(request, arrival);
    const isDelivered = isDiverted && transport === 'tcp';
    const transactionId = isDelivered ? deliveryId(request.transactionId) : request.transactionId;
    const encode = (dialOutcome?: DialOutcome) =>
      encodeStun(success ? { ...success, transactionId, attestation, dialOutcome } : unsupported(request), {
        key,
        fingerprint: true,
      });
    const bytes = encode();
    if (transport === 'udp' && bytes.length > budget) return undefined;
    const reply = { bytes, change: changeOf(request, arrival), to, authenticated: true };
    if (isDiverted || !this.#mayDialBack(request, arrival, now)) return reply;
    const fromOtherAddress = request.change!.address;
    return { ...reply, dialBack: { to: from, fromOtherAddress, answer: encode } };
  }

  #mayDivert(
    { username, responsePort }: StunMessage,
    { transport, from, on }: StunArrival,
    now: Instant,
  ): boolean {
    if (responsePort! < FIRST_ORDINARY_PORT || !this.#mayDisturb(from.address, on)) return false;
    if (!this.#diversions.take(utf8(username!), now)) return false;
    return transport === 'udp' || this.#dialsToNetwork.take(networkOf(from.address), now);
  }

  /**
   * Where many share an inner address (a proxy's, a NAT's), its ports aren't the asker's. A server that is reached at an
   * address of that kind itself serves that very network.
   */
  #mayDisturb(address: string, on: StunLocal): boolean {
    const scope = scopeOf(address);
    const isServed = on.address !== undefined && scopeOf(on.address) === scope;
    if (scope !== 'public' && !isServed) return false;
    if (scope === 'loopback') return true;
    return address !== on.address && address !== on.otherAddress && !this.#options.isOwn?.(address);
  }

  /** What is not dialled is answered without an outcome. */
  #mayDialBack(
    { change, username }: StunMessage,
    { transport, from, on }: StunArrival,
    now: Instant,
  ): boolean {
    if (transport !== 'tcp' || !change || !(change.address || change.port)) return false;
    if (change.address && on.otherAddress === undefined) return false;
    return (
      this.#dialsOfPeer.take(utf8(username!), now) && this.#dialsToNetwork.take(networkOf(from.address), now)
    );
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
    const isPlain = request.username === undefined && request.responsePort === undefined;
    const answer = isPlain ? successFor(request, arrival) : undefined;
    const reply = request.username === undefined ? answer : refused;
    const bytes = encodeStun(reply ?? unsupported(request));
    const change = changeOf(request, arrival);
    const budget = change.address || change.port ? requestLength : STRANGER_REPLY_BYTES;
    if (bytes.length > budget) return undefined;
    return { bytes, change, to: arrival.from, authenticated: false };
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

/** Over TCP a reply can't come from elsewhere: there CHANGE-REQUEST asks for a dial back. And an error comes from where it was asked. */
function changeOf(request: StunMessage, { transport, on }: StunArrival): StunReply['change'] {
  const { change } = request;
  if (transport === 'tcp' || !change || (change.address && on.otherAddress === undefined)) return UNCHANGED;
  return change;
}

/** One diagnosis takes ten at most; then one every ten minutes, and some changes of network. */
const DIALS_OF_PEER = { perSecond: 0.05, burst: 24 };
/** A carrier's NAT has many customers behind one network. */
const DIALS_TO_NETWORK = { perSecond: 2, burst: 240 };

function isKnown(endpoint: { address: string | undefined; port: number }): endpoint is Endpoint {
  return endpoint.address !== undefined;
}
