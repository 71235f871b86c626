import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import type { StreamPurpose } from '../../src/core/protocol/open.ts';
import { systemClock, type Clock } from '../../src/net/clock.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import type { SessionDatagrams } from '../session-datagrams.ts';
import { DatagramFlow } from './datagram-flow.ts';

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

/** The flows of one UDP listener, by who sends and where to: each a stream of its own, begun by its first datagram. */
export class DatagramFlows {
  readonly #options: DatagramFlowsOptions;
  readonly #flows = new Map<string, Promise<DatagramFlow | undefined>>();
  #full = false;
  /** Where answers went is closed as well. */
  #closed = false;

  constructor(options: DatagramFlowsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#flows.size;
  }

  /**
   * @param key who sends, and where to
   * @param answer where what comes back goes
   */
  send(key: string, purpose: StreamPurpose, bytes: Uint8Array, answer: (bytes: Uint8Array) => void): void {
    const flow = this.#flows.get(key) ?? this.#begin(key, purpose, answer);
    void flow?.then((opened) => opened?.send(bytes));
  }

  /** What the other end still answers is dropped. */
  async close(): Promise<void> {
    this.#closed = true;
    const flows = [...this.#flows.values()];
    this.#flows.clear();
    for (const flow of flows) (await flow)?.close();
  }

  #begin(
    key: string,
    purpose: StreamPurpose,
    answer: (bytes: Uint8Array) => void,
  ): Promise<DatagramFlow | undefined> | undefined {
    const { limit = LIMITS.flowsPerForward } = this.#options;
    if (this.#flows.size >= limit) return this.#refuse(limit);
    this.#full = false;
    const flow = this.#open(key, purpose, answer);
    this.#flows.set(key, flow);
    return flow;
  }

  async #open(
    key: string,
    purpose: StreamPurpose,
    answer: (bytes: Uint8Array) => void,
  ): Promise<DatagramFlow | undefined> {
    const { opener, onError, idleMs, clock = systemClock } = this.#options;
    try {
      const stream = await opener.openPurpose(purpose);
      stream.on('error', (thrown) => onError(asSallyportError(thrown)));
      stream.on('close', () => this.#flows.delete(key));
      return new DatagramFlow({
        stream,
        clock,
        onDatagram: (bytes) => {
          if (!this.#closed) answer(bytes);
        },
        idleMs,
        end: 'opens',
        datagrams: opener.datagrams,
      });
    } catch (thrown) {
      this.#flows.delete(key);
      onError(asSallyportError(thrown));
      return undefined;
    }
  }

  /** Told once until there is room again. */
  #refuse(limit: number): undefined {
    if (this.#full) return;
    this.#full = true;
    const hint = 'flows end after a minute without a datagram';
    this.#options.onError(
      new SallyportError('LIMIT', `${limit} UDP flows at once: a new client is not served`, { hint }),
    );
  }
}
