import type { Endpoint } from '../endpoint.ts';
import type { Instant } from '../machine.ts';
import type { StunMessage } from '../stun/message.ts';
import { Transaction, REQUEST_SCHEDULE, type TransmissionSchedule } from '../stun/transaction.ts';

/** What a test asks of the server: its view of us, or a reply from elsewhere; `witness` asks somebody else's view. */
export type BindingTestPurpose = 'mapping' | 'witness' | 'other-address' | 'other-port' | 'refresh';

/** The socket that is measured, or a fresh one that has contacted nobody. */
export type DiscoverySocket = 'main' | 'filtering';

export interface BindingTestOptions {
  readonly purpose: BindingTestPurpose;
  readonly to: Endpoint;
  readonly request: Uint8Array;
  readonly startedAt: Instant;
}

/** One Binding transaction of a discovery, and what its answer must look like to count. */
export class BindingTest {
  readonly purpose: BindingTestPurpose;
  readonly to: Endpoint;
  readonly request: Uint8Array;
  readonly transaction: Transaction;
  reply: StunMessage | undefined;
  /** How many of the transmissions were answered. */
  replies = 0;
  /** Nothing came for long enough; a late reply still counts. */
  isSilent = false;

  constructor({ purpose, to, request, startedAt }: BindingTestOptions) {
    this.purpose = purpose;
    this.to = to;
    this.request = request;
    this.transaction = new Transaction(startedAt, this.#schedule);
  }

  get isSettled(): boolean {
    return this.reply !== undefined || this.isSilent;
  }

  get socket(): DiscoverySocket {
    return this.purpose === 'other-address' || this.purpose === 'other-port' ? 'filtering' : 'main';
  }

  get #schedule(): TransmissionSchedule {
    if (this.purpose === 'witness') return WITNESS_SCHEDULE;
    return this.socket === 'filtering' ? FILTERING_SCHEDULE : REQUEST_SCHEDULE;
  }

  /** False when the reply did not come from where it was asked to come from. An error may come from anywhere. */
  accept(reply: StunMessage, from: Endpoint, now: Instant): boolean {
    if (reply.class === 'success' && !this.#isFromElsewhere(from)) return false;
    this.reply ??= reply;
    this.replies++;
    this.transaction.answer(now);
    return true;
  }

  #isFromElsewhere(from: Endpoint): boolean {
    switch (this.purpose) {
      case 'other-address':
        return from.address !== this.to.address;
      case 'other-port':
        return from.port !== this.to.port;
      case 'mapping':
      case 'witness':
      case 'refresh':
        return true;
    }
  }
}

/** A change of address includes the port, as RFC 5780 §4.4's test II does. */
export function changeFor(purpose: BindingTestPurpose): StunMessage['change'] {
  if (purpose === 'other-address') return { address: true, port: true };
  return purpose === 'other-port' ? { address: false, port: true } : undefined;
}

/** One that is silent holds the verdict up no longer than filtering that has to be proven by silence. */
const WITNESS_SCHEDULE: TransmissionSchedule = [0, 100, 250];
/** More often than a plain request: its silence has to prove something, also on a lossy link. */
const FILTERING_SCHEDULE: TransmissionSchedule = [0, 60, 130, 210, 300, 400];
