import { equalBytes } from '../bytes.ts';
import type { Endpoint } from '../endpoint.ts';
import { earliest, type Instant, type Machine } from '../machine.ts';
import { bindingRequest, readResponse } from '../stun/request.ts';
import { Transaction } from '../stun/transaction.ts';
import { judgeSamples } from './allocation.ts';
import type { SurveyOptions, UdpSurveyInput, UdpSurveyOutput } from './survey.ts';

interface Sample {
  readonly socket: number;
  readonly to: Endpoint;
  readonly transactionId: Uint8Array;
  readonly request: Uint8Array;
  readonly transaction: Transaction;
  localPort: number;
  mapped: Endpoint | undefined;
}

/**
 * Port allocation over UDP (RFC 4787 §4.2), and the pool of public addresses: eight fresh sockets ask in one burst, so
 * that other hosts behind the NAT take few ports in between.
 */
export class UdpAllocation implements Machine<UdpSurveyInput, UdpSurveyOutput> {
  readonly #options: SurveyOptions;
  readonly #outputs: UdpSurveyOutput[] = [];
  #samples: Sample[] = [];
  #endAt: Instant | undefined;

  constructor(options: SurveyOptions) {
    this.#options = options;
  }

  get deadline(): Instant | undefined {
    if (this.#endAt === undefined) return undefined;
    return earliest(this.#endAt, ...this.#samples.map(({ transaction }) => transaction.nextTransmission));
  }

  handle(input: UdpSurveyInput, now: Instant): void {
    if (input.type === 'start') this.#start(now);
    else this.#receive(input, now);
  }

  handleTimeout(now: Instant): void {
    this.#transmit(now);
    if (this.#endAt !== undefined && this.#endAt <= now) this.#finish();
  }

  poll(): UdpSurveyOutput | undefined {
    return this.#outputs.shift();
  }

  #start(now: Instant): void {
    const { servers, credentials } = this.#options;
    if (servers.length === 0) return;
    this.#endAt = now + END_MS;
    this.#samples = Array.from({ length: SAMPLES }, (_, socket) => {
      const transactionId = this.#options.random(12);
      const request = bindingRequest(transactionId, credentials);
      const to = servers[socket % servers.length]!;
      const transaction = new Transaction(now);
      return { socket, to, transactionId, request, transaction, localPort: 0, mapped: undefined };
    });
    this.#transmit(now);
  }

  #transmit(now: Instant): void {
    if (this.#endAt === undefined) return;
    for (const { socket, to, request, transaction } of this.#samples) {
      if (transaction.takeTransmission(now)) {
        this.#outputs.push({ type: 'send', socket, to, bytes: request });
      }
    }
  }

  #receive({ socket, bytes, localPort }: Extract<UdpSurveyInput, { type: 'datagram' }>, now: Instant): void {
    const sample = this.#samples[socket];
    const reply = readResponse(bytes, this.#options.credentials);
    if (!sample || !reply || !equalBytes(reply.transactionId, sample.transactionId)) return;
    sample.transaction.answer(now);
    sample.mapped ??= reply.mapped;
    sample.localPort = localPort;
    if (this.#samples.every(({ transaction }) => transaction.isAnswered)) this.#finish();
  }

  #finish(): void {
    if (this.#endAt === undefined) return;
    this.#endAt = undefined;
    this.#outputs.push({ type: 'found', profile: judgePool(this.#samples) });
  }
}

/** Allocation and pool from fresh sockets in the order of their first use; some may have had no answer. */
export function judgePool(
  samples: readonly { readonly localPort: number; readonly mapped: Endpoint | undefined }[],
): Extract<UdpSurveyOutput, { type: 'found' }>['profile'] {
  const seen = samples.flatMap(({ localPort, mapped }) => (mapped ? [{ localPort, mapped }] : []));
  const ports = seen.map(({ localPort, mapped }) => ({ localPort, externalPort: mapped.port }));
  return {
    allocation: judgeSamples(ports),
    publicAddresses: [...new Set(seen.map(({ mapped }) => mapped.address))],
  };
}

/** Seven differences where nothing is lost. */
export const SAMPLES = 8;
const END_MS = 2_000;
