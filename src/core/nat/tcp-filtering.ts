import { equalBytes } from '../bytes.ts';
import { earliest, type Instant, type Machine } from '../machine.ts';
import { StunFramer } from '../stun/framing.ts';
import type { StunMessage } from '../stun/message.ts';
import { bindingRequest, readResponse } from '../stun/request.ts';
import type { MappingBehavior } from './behavior.ts';
import { judgeStrays, judgeTcpFiltering, type DialAnswer, type DialEvidence } from './filtering.ts';
import { Rhythm, type SurveyOptions, type TcpSurveyInput, type TcpSurveyOutput } from './survey.ts';

export interface TcpFilteringOptions extends SurveyOptions {
  /** Decides whether an open filter is one at all. */
  readonly mapping: MappingBehavior;
}

type Origin = 'otherAddress' | 'otherPort';

interface Dial {
  readonly from: Origin;
  readonly transactionId: Uint8Array;
}

/**
 * TCP filtering, and what becomes of strays: from a fresh port that listens, one connection to ip1:p1 asks the server
 * to dial back the mapping that it sees, from its other address and from another port of the same one.
 *
 * ```
 *  connected   the filter lets anybody in, or anybody at an address that was contacted
 *  refused     the NAT answers strays by RST
 *  silent      it drops them; each dial is one SYN, so only several silent ones prove it
 * ```
 */
export class TcpFiltering implements Machine<TcpSurveyInput, TcpSurveyOutput> {
  readonly #options: TcpFilteringOptions;
  readonly #outputs: TcpSurveyOutput[] = [];
  readonly #framer = new StunFramer();
  readonly #hasOtherAddress: boolean;
  readonly #answers: Record<Origin, DialAnswer[]> = { otherAddress: [], otherPort: [] };
  #pending: Dial[] = [];
  #rhythm: Rhythm | undefined;
  #giveUpAt: Instant | undefined;

  constructor(options: TcpFilteringOptions) {
    this.#options = options;
    const [first, ...others] = options.servers;
    this.#hasOtherAddress = others.some(({ address }) => address !== first?.address);
  }

  get deadline(): Instant | undefined {
    return this.#giveUpAt === undefined ? undefined : earliest(this.#giveUpAt, this.#rhythm?.next);
  }

  handle(input: TcpSurveyInput, now: Instant): void {
    switch (input.type) {
      case 'start':
        this.#start(now);
        break;
      case 'connected':
        if (input.isListening) this.#rhythm = new Rhythm(DIALS_AT, now);
        else this.#finish();
        this.#ask(now);
        break;
      case 'closed':
        this.#finish();
        break;
      case 'data':
        this.#receive(input.bytes);
        break;
    }
  }

  handleTimeout(now: Instant): void {
    this.#ask(now);
    if (this.#giveUpAt !== undefined && this.#giveUpAt <= now) this.#finish();
  }

  poll(): TcpSurveyOutput | undefined {
    return this.#outputs.shift();
  }

  #start(now: Instant): void {
    const [to] = this.#options.servers;
    if (!to) return;
    this.#giveUpAt = now + GIVE_UP_MS;
    this.#outputs.push({ type: 'connect', connection: 0, to, listens: true });
  }

  #ask(now: Instant): void {
    if (this.#giveUpAt === undefined || !this.#rhythm?.take(now)) return;
    const origins = (['otherAddress', 'otherPort'] as const).filter((origin) => !this.#isSettled(origin));
    for (const from of origins) this.#askFor(from);
  }

  #askFor(from: Origin): void {
    const transactionId = this.#options.random(12);
    const change = { address: from === 'otherAddress', port: true };
    const bytes = bindingRequest(transactionId, this.#options.credentials, { change });
    this.#pending.push({ from, transactionId });
    this.#outputs.push({ type: 'write', connection: 0, bytes });
  }

  #receive(bytes: Uint8Array): void {
    try {
      for (const message of this.#framer.push(bytes)) {
        const reply = readResponse(message, this.#options.credentials);
        if (reply) this.#answered(reply);
      }
    } catch {
      this.#finish();
    }
  }

  #answered(reply: StunMessage): void {
    const dial = this.#pending.find(({ transactionId }) => equalBytes(transactionId, reply.transactionId));
    if (!dial) return;
    this.#pending = this.#pending.filter((other) => other !== dial);
    this.#answers[dial.from].push(reply.dialOutcome ?? 'unknown');
    const isOpen = this.#summary('otherAddress') === 'connected';
    if (isOpen || (this.#isSettled('otherAddress') && this.#isSettled('otherPort'))) this.#finish();
  }

  /** Anything but silence is settled at once; a server that doesn't dial won't do it later. */
  #isSettled(origin: Origin): boolean {
    if (origin === 'otherAddress' && !this.#hasOtherAddress) return true;
    const answers = this.#answers[origin];
    return answers.length >= DIALS_AT.length || answers.some((answer) => answer !== 'silent');
  }

  #summary(origin: Origin): DialAnswer {
    const answers = this.#answers[origin];
    for (const answer of ['connected', 'refused', 'unknown'] as const) {
      if (answers.includes(answer)) return answer;
    }
    return answers.length < DIALS_AT.length ? 'unknown' : 'silent';
  }

  #finish(): void {
    if (this.#giveUpAt === undefined) return;
    this.#giveUpAt = undefined;
    this.#outputs.push({ type: 'reset', connection: 0 });
    const evidence: DialEvidence = {
      otherAddress: this.#summary('otherAddress'),
      otherPort: this.#summary('otherPort'),
      hasOtherAddress: this.#hasOtherAddress,
    };
    const filtering = judgeTcpFiltering(evidence, this.#options.mapping);
    this.#outputs.push({ type: 'found', profile: { filtering, strays: judgeStrays(evidence) } });
  }
}

/** At 10 % loss each way five silent SYNs in a row are chance in one case of four thousand. */
const DIALS_AT = [0, 300, 600, 900, 1_200];

/** Three SYNs of our own to the server, the dials, and repeats of what TCP has lost. */
const GIVE_UP_MS = 8_000;
