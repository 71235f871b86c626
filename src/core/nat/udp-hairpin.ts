import { equalBytes } from '../bytes.ts';
import type { Endpoint } from '../endpoint.ts';
import { earliest, type Instant, type Machine } from '../machine.ts';
import { encodeStun } from '../stun/message.ts';
import { bindingRequest, readResponse } from '../stun/request.ts';
import { Transaction } from '../stun/transaction.ts';
import type { MappingBehavior } from './behavior.ts';
import { Rhythm, type SurveyOptions, type UdpSurveyInput, type UdpSurveyOutput } from './survey.ts';

export interface UdpHairpinOptions extends SurveyOptions {
  readonly mapping: MappingBehavior;
}

/** One of the two sockets that look for one another. */
interface End {
  readonly transactionId: Uint8Array;
  readonly request: Uint8Array;
  readonly transaction: Transaction;
  mapped: Endpoint | undefined;
}

/**
 * Hairpinning (RFC 4787 §6): two sockets of this host send to one another's mapping, both, so that no filter stands in
 * the way. What arrives proves it. Silence disproves it only where the mapping that the server saw is the one that the
 * other socket sees. A host takes no packet whose source is its own address, so that a NAT which leaves the internal
 * source in place (against REQ-9a) looks like one that doesn't hairpin.
 */
export class UdpHairpin implements Machine<UdpSurveyInput, UdpSurveyOutput> {
  readonly #options: UdpHairpinOptions;
  readonly #outputs: UdpSurveyOutput[] = [];
  #ends: End[] = [];
  #probe: Uint8Array = new Uint8Array();
  #rhythm: Rhythm | undefined;
  #endAt: Instant | undefined;

  constructor(options: UdpHairpinOptions) {
    this.#options = options;
  }

  get deadline(): Instant | undefined {
    if (this.#endAt === undefined) return undefined;
    const requests = this.#ends.map(({ transaction }) => transaction.nextTransmission);
    return earliest(this.#endAt, this.#rhythm?.next, ...requests);
  }

  handle(input: UdpSurveyInput, now: Instant): void {
    if (input.type === 'start') this.#start(now);
    else this.#receive(input.socket, input.bytes, now);
  }

  handleTimeout(now: Instant): void {
    this.#transmit(now);
    if (this.#endAt !== undefined && this.#endAt <= now) this.#finish(false);
  }

  poll(): UdpSurveyOutput | undefined {
    return this.#outputs.shift();
  }

  #start(now: Instant): void {
    this.#endAt = now + MAPPING_MS;
    this.#probe = encodeStun({ class: 'indication', transactionId: this.#options.random(12) });
    this.#ends = [0, 1].map(() => {
      const transactionId = this.#options.random(12);
      const request = bindingRequest(transactionId, this.#options.credentials);
      return { transactionId, request, transaction: new Transaction(now), mapped: undefined };
    });
    this.#transmit(now);
  }

  #transmit(now: Instant): void {
    const [to] = this.#options.servers;
    if (!to || this.#endAt === undefined) return;
    for (const [socket, { transaction, request }] of this.#ends.entries()) {
      if (transaction.takeTransmission(now)) this.#outputs.push({ type: 'send', socket, to, bytes: request });
    }
    if (this.#rhythm?.take(now)) this.#sendProbes();
  }

  #sendProbes(): void {
    for (const [other, { mapped }] of this.#ends.entries()) {
      if (mapped) this.#outputs.push({ type: 'send', socket: 1 - other, to: mapped, bytes: this.#probe });
    }
  }

  #receive(socket: number, bytes: Uint8Array, now: Instant): void {
    if (this.#endAt === undefined) return;
    if (equalBytes(bytes, this.#probe)) return this.#finish(true);
    const end = this.#ends[socket];
    const reply = readResponse(bytes, this.#options.credentials);
    if (!end || !reply || !equalBytes(reply.transactionId, end.transactionId)) return;
    end.transaction.answer(now);
    end.mapped ??= reply.mapped;
    if (this.#rhythm || !this.#ends.every(({ mapped }) => mapped)) return;
    this.#rhythm = new Rhythm(PROBES_AT, now);
    this.#endAt = now + PROBES_AT.at(-1)! + PATIENCE_MS;
    this.#transmit(now);
  }

  #finish(hasArrived: boolean): void {
    if (this.#endAt === undefined) return;
    this.#endAt = undefined;
    const isProof = hasArrived || (this.#rhythm && this.#options.mapping === 'endpoint-independent');
    this.#outputs.push({ type: 'found', profile: isProof ? { hairpin: hasArrived } : {} });
  }
}

/** They don't leave the NAT, so that little is lost; several NATs in a row take some time. */
const PROBES_AT = [0, 50, 150, 300, 500, 700, 900];
const PATIENCE_MS = 600;
const MAPPING_MS = 2_000;
