import type { Endpoint } from '../endpoint.ts';
import { equalBytes } from '../bytes.ts';
import type { Instant } from '../machine.ts';
import { StunFramer } from '../stun/framing.ts';
import type { StunMessage } from '../stun/message.ts';
import { readResponse, type StunCredentials } from '../stun/request.ts';

export type StunConnectionId = number;

/** One TCP connection to a STUN server, one request at a time. */
export class StunConnection {
  readonly id: StunConnectionId;
  readonly to: Endpoint;
  isOpen = false;
  readonly #framer = new StunFramer();
  readonly #dialledAt: Instant;
  #asked: { readonly transactionId: Uint8Array; readonly at: Instant } | undefined;

  constructor(id: StunConnectionId, to: Endpoint, now: Instant) {
    this.id = id;
    this.to = to;
    this.#dialledAt = now;
  }

  /** True until the answer to the last request is there. */
  get isAsking(): boolean {
    return this.#asked !== undefined;
  }

  /** When to give it up; `undefined` while nothing is awaited. */
  get deadline(): Instant | undefined {
    if (!this.isOpen) return this.#dialledAt + DIAL_MS;
    return this.#asked && this.#asked.at + ANSWER_MS;
  }

  asked(transactionId: Uint8Array, now: Instant): void {
    this.#asked = { transactionId, at: now };
  }

  /**
   * The answers that `bytes` completes, at most one for each request.
   * @throws SallyportError `PROTOCOL_ERROR` when the server does not speak STUN
   */
  receive(bytes: Uint8Array, credentials: StunCredentials | undefined): StunMessage[] {
    const answers: StunMessage[] = [];
    for (const message of this.#framer.push(bytes)) {
      const reply = readResponse(message, credentials);
      if (!reply || !this.#asked || !equalBytes(reply.transactionId, this.#asked.transactionId)) continue;
      this.#asked = undefined;
      answers.push(reply);
    }
    return answers;
  }
}

/** Leaves room for the kernel's second and third SYN, at 1 s and 3 s. */
const DIAL_MS = 3_500;

/** TCP repeats what is lost; longer than this and the connection is dead. */
const ANSWER_MS = 5_000;
