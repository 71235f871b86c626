import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import type { StreamPurpose } from '../../src/core/protocol/open.ts';
import { TokenBucket } from '../../src/core/token-bucket.ts';
import { systemClock, type Clock } from '../../src/net/clock.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import type { SessionDatagrams } from '../session-datagrams.ts';
import { DatagramFlow } from './datagram-flow.ts';
import { leadingTo } from './leading-to.ts';

/** What flows of datagrams need of a session. */
export interface FlowOpener {
  readonly datagrams: SessionDatagrams;
  openPurpose(purpose: StreamPurpose): Promise<SessionStream>;
}

export interface DatagramFlowsOptions {
  readonly opener: FlowOpener;
  readonly onError: (error: SallyportError) => void;
  readonly limit?: number | undefined;
  readonly idleMs?: number | undefined;
  readonly clock?: Clock | undefined;
}

interface Flow {
  readonly opening: Promise<DatagramFlow | undefined>;
  /** Something has come back on it. */
  answered: boolean;
}

/**
 * The flows of one UDP listener, by who sends and where to: each a stream of its own, begun by its first datagram. At
 * the limit the one that has been silent longest makes room: most clients ask once, get their answer and are gone. Of
 * those that never had an answer only so many a second do, which ends a datagram that is led back to itself.
 */
export class DatagramFlows {
  readonly #options: DatagramFlowsOptions;
  readonly #clock: Clock;
  /** In order of use. */
  readonly #flows = new Map<string, Flow>();
  /** Flows without an answer that may still make room. */
  readonly #unanswered: TokenBucket;
  readonly #limit: number;
  #full = false;
  /** Where answers went is closed as well. */
  #closed = false;

  constructor(options: DatagramFlowsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#limit = options.limit ?? LIMITS.flowsPerForward;
    const perSecond = Math.max(1, this.#limit / ANSWER_WITHIN_S);
    this.#unanswered = new TokenBucket(perSecond, perSecond, this.#clock.now());
  }

  get size(): number {
    return this.#flows.size;
  }

  /**
   * @param key who sends, and where to
   * @param answer where what comes back goes
   */
  send(key: string, purpose: StreamPurpose, bytes: Uint8Array, answer: (bytes: Uint8Array) => void): void {
    this.#use(key);
    const flow = this.#flows.get(key) ?? this.#begin(key, purpose, answer);
    void flow?.opening.then((opened) => opened?.send(bytes));
  }

  /** What the other end still answers is dropped. */
  async close(): Promise<void> {
    this.#closed = true;
    const flows = [...this.#flows.values()];
    this.#flows.clear();
    for (const { opening } of flows) (await opening)?.close();
  }

  #use(key: string): void {
    const flow = this.#flows.get(key);
    if (!flow) return;
    this.#flows.delete(key);
    this.#flows.set(key, flow);
  }

  #begin(key: string, purpose: StreamPurpose, answer: (bytes: Uint8Array) => void): Flow | undefined {
    if (this.#flows.size < this.#limit) this.#full = false;
    else if (!this.#makeRoom()) return this.#refuse();
    const onDatagram = (bytes: Uint8Array) => {
      flow.answered = true;
      this.#use(key);
      if (!this.#closed) answer(bytes);
    };
    const onEnd = () => {
      if (this.#flows.get(key) === flow) this.#flows.delete(key); // else another one has its key by now
    };
    const opening = this.#open(purpose, onDatagram, onEnd);
    const flow: Flow = { opening, answered: false };
    this.#flows.set(key, flow);
    return flow;
  }

  /** Whether one could be closed for another. */
  #makeRoom(): boolean {
    const [key, { opening, answered }] = this.#flows.entries().next().value!;
    if (!answered && !this.#unanswered.take(this.#clock.now())) return false;
    this.#flows.delete(key);
    void opening.then((opened) => opened?.close());
    return true;
  }

  async #open(
    purpose: StreamPurpose,
    onDatagram: (bytes: Uint8Array) => void,
    onEnd: () => void,
  ): Promise<DatagramFlow | undefined> {
    const { opener, idleMs } = this.#options;
    const failed = (thrown: unknown) => this.#options.onError(leadingTo(purpose, asSallyportError(thrown)));
    try {
      const stream = await opener.openPurpose(purpose);
      stream.on('error', failed);
      stream.on('close', onEnd);
      return new DatagramFlow({
        stream,
        clock: this.#clock,
        onDatagram,
        idleMs,
        end: 'opens',
        datagrams: opener.datagrams,
      });
    } catch (thrown) {
      onEnd();
      failed(thrown);
      return undefined;
    }
  }

  /** Told once until there is room again. */
  #refuse(): undefined {
    if (this.#full) return;
    this.#full = true;
    const hint = 'nothing answers there; if nobody sent so many, the forward leads back to itself';
    this.#options.onError(
      new SallyportError('LIMIT', `${this.#limit} UDP flows at once: a new client is not served`, { hint }),
    );
  }
}

/** All that had no answer make room for others within this time: for so long most resolvers wait for theirs. */
const ANSWER_WITHIN_S = 5;
