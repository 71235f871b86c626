import { notWanted, SallyportError } from '../src/core/errors.ts';
import { peerIdOf, type PeerId } from '../src/core/identity.ts';
import type { ToRendezvous } from '../src/core/protocol/rendezvous.ts';
import type { Clock } from '../src/net/clock.ts';
import { deferred, type Deferred } from '../src/net/deferred.ts';
import { refusal } from '../src/net/register.ts';
import type { SignalMessage } from '../src/net/signal.ts';

/** Whose a name is, and what may prove that this is who had it before. */
interface NameHolder {
  readonly id: PeerId;
  readonly successions: Uint8Array | undefined;
}

const ANSWER_MS = 5_000;

/** Names that the rendezvous is asked for. It allows few look-ups, so all who want to know of one share it. */
export class LookUps {
  readonly #clock: Clock;
  readonly #send: (message: ToRendezvous) => void;
  /** Who waits for an answer, and for which name. */
  readonly #waiting = new Map<Deferred<NameHolder | undefined>, string>();

  constructor(clock: Clock, send: (message: ToRendezvous) => void) {
    this.#clock = clock;
    this.#send = send;
  }

  /** @see Deployment.resolve */
  async ask(name: string, signal?: AbortSignal): Promise<NameHolder | undefined> {
    if (signal?.aborted) throw notWanted();
    const waiting = deferred<NameHolder | undefined>();
    const abort = () => waiting.reject(notWanted());
    signal?.addEventListener('abort', abort);
    const isAsked = [...this.#waiting.values()].includes(name);
    this.#waiting.set(waiting, name);
    if (!isAsked) this.#send({ t: 'resolve', name });
    const late = () => waiting.reject(new SallyportError('TIMEOUT', 'the rendezvous did not answer'));
    const cancel = this.#clock.setTimer(late, ANSWER_MS);
    try {
      return await waiting.promise;
    } finally {
      cancel();
      signal?.removeEventListener('abort', abort);
      this.#waiting.delete(waiting);
    }
  }

  /** What was asked by a connection that died may have died with it. */
  askAgain(): void {
    for (const name of new Set(this.#waiting.values())) this.#send({ t: 'resolve', name });
  }

  /** False for a message that answers none. */
  take(message: SignalMessage): boolean {
    if (message.t === 'resolved') {
      const { name, id, successions } = message;
      const holder = id && { id: peerIdOf(id), successions };
      this.#settle(name, (waiting) => waiting.resolve(holder));
      return true;
    }
    if (message.t !== 'error' || message.name === undefined) return false;
    this.#settle(message.name, (waiting) => waiting.reject(refusal(message)));
    return true;
  }

  /** Whoever still waits does so in vain. */
  close(why: SallyportError): void {
    for (const waiting of this.#waiting.keys()) waiting.reject(why);
  }

  #settle(name: string, act: (waiting: Deferred<NameHolder | undefined>) => void): void {
    for (const [waiting, asked] of this.#waiting) if (asked === name) act(waiting);
  }
}
