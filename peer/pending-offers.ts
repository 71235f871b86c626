import { hex } from '../src/core/bytes.ts';
import { asSallyportError, notWanted, SallyportError } from '../src/core/errors.ts';
import { peerIdOf, publicKeyOf, type Identity, type PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { MessageTo, ToNode } from '../src/core/protocol/rendezvous.ts';
import { remoteFailure } from '../src/core/remote-failure.ts';
import type { Clock } from '../src/net/clock.ts';
import { deferred, type Deferred } from '../src/net/deferred.ts';
import type { Deployment } from './deployment.ts';
import { PeerMoved } from './moved.ts';

interface PendingOffersOptions {
  readonly identity: Identity;
  readonly deployment: Deployment;
  readonly clock: Clock;
}

type Forwarded<Name extends ToNode['t']> = MessageTo<ToNode, Name>;
type Answer = Forwarded<'answer'>;

interface Offer {
  readonly to: PeerId;
  readonly session: Uint8Array;
  readonly noise: Uint8Array;
  /** The peer's registration that it is for, instead of the one that listens. */
  readonly instance: Uint8Array | undefined;
  /** The payload of the answer. @throws SallyportError where it is no answer to this offer */
  readonly read: (noise: Uint8Array) => Uint8Array;
  /** Hears of tickets for our leg as soon as the offer is passed on; they aren't asked for otherwise. */
  readonly onTickets?: ((tickets: readonly Uint8Array[]) => void) | undefined;
  /** An earlier one was lost with the connection that it went by. */
  readonly isRepeated: boolean;
}

/** One that was not answered yet; `undefined` when it will not be. */
interface PendingOffer extends Pick<Offer, 'to' | 'read' | 'onTickets'> {
  readonly answer: Deferred<Answered | undefined>;
  /** Looks after the connection that brings it; only one that is registered can be asked. */
  readonly check: () => void;
  /** Of an answer that could not be read. */
  failure?: SallyportError;
}

export interface Answered extends Pick<Answer, 'instance' | 'tickets'> {
  readonly payload: Uint8Array;
}

/** However often an offer has to be made. */
export const ANSWER_TIMEOUT_MS = 10_000;

/** As many as a peer answers before any of them has come to something. */
const REMEMBERED = LIMITS.unconfirmed;

/** Our offers on their way: which answer belongs to which, and which are lost. */
export class PendingOffers {
  #options: PendingOffersOptions;
  /** By session. */
  #pending = new Map<string, PendingOffer>();
  /** To whom the latest ones went that are over, by session. */
  readonly #over = new Map<string, PeerId>();

  constructor(options: PendingOffersOptions) {
    this.#options = options;
    // What was sent by a connection that died may have died with it, and nobody will say so.
    options.deployment.on('registered', (anew) => {
      for (const { answer, check } of this.#pending.values()) {
        if (anew) answer.resolve(undefined);
        else check();
      }
    });
  }

  has(session: Uint8Array): boolean {
    return this.#pending.has(hex(session));
  }

  /**
   * Resolves with the answer, or with `undefined` where this peer had to register anew meanwhile: then the offer may
   * be lost, and a repeated one would be a replay; make another.
   * @param giveUpAt by our clock
   * @throws SallyportError `TIMEOUT`, `ABORTED`, `RENDEZVOUS_UNREACHABLE`, or what the other side refused it with
   */
  async send(
    { to, session, noise, instance, read, onTickets, isRepeated }: Offer,
    giveUpAt: number,
    signal?: AbortSignal,
  ): Promise<Answered | undefined> {
    if (signal?.aborted) throw notWanted();
    const { deployment, clock } = this.#options;
    const key = hex(session);
    const answer = deferred<Answered | undefined>();
    let cancelCheck = () => {};
    const check = () => {
      cancelCheck();
      cancelCheck = deployment.checkWhile(() => true); // the pong says that the offer is there
    };
    const pending: PendingOffer = { to, answer, check, read, onTickets };
    const abort = () => answer.reject(notWanted());
    const giveUp = () => answer.reject(pending.failure ?? this.#silence(isRepeated));
    const cancel = clock.setTimer(giveUp, Math.max(0, giveUpAt - clock.now()));
    this.#pending.set(key, pending);
    signal?.addEventListener('abort', abort);
    try {
      const tickets = onTickets ? true : undefined;
      if (!deployment.send({ t: 'offer', session, to: publicKeyOf(to), instance, noise, tickets })) {
        throw down();
      }
      check();
      return await answer.promise;
    } finally {
      cancel();
      cancelCheck();
      signal?.removeEventListener('abort', abort);
      this.#pending.delete(key);
      this.#remember(key, to);
    }
  }

  /**
   * True once for each offer of ours that is over, where its peer has sent this: anybody may send answers to what was never offered, and whoever
   * replied to each would send as much as all of them together, for which the rendezvous closes its connection.
   */
  takeLate({ session, from }: Answer): boolean {
    const key = hex(session);
    return this.#over.get(key) === peerIdOf(from) && this.#over.delete(key);
  }

  /** The peer has offered the same session: its offer stands. */
  withdraw(session: Uint8Array): void {
    const error = new SallyportError('ABORTED', 'the peer has offered the session itself');
    this.#pending.get(hex(session))?.answer.reject(error);
  }

  /** Tickets for a session that isn't there yet. */
  takeTickets(session: Uint8Array, tickets: readonly Uint8Array[]): void {
    this.#pending.get(hex(session))?.onTickets?.(tickets);
  }

  receive(message: Answer | Forwarded<'refuse'> | Forwarded<'error'>): void {
    switch (message.t) {
      case 'answer':
        return this.#answer(message);
      case 'refuse':
        return this.#pendingWith(message)?.answer.reject(this.#refusal(message.code));
      case 'error': {
        const pending = message.session && this.#pending.get(hex(message.session));
        if (!pending) return;
        const failure = remoteFailure(message.code, message.message);
        return pending.answer.reject(PeerMoved.of(failure, pending.to, message.successor));
      }
    }
  }

  /**
   * One that can't be read may be to an earlier offer of the same session: the rendezvous passes on again what went by a
   * connection that was replaced. The right one may still come.
   */
  #answer({ noise, instance, tickets, ...of }: Answer): void {
    const pending = this.#pendingWith(of);
    if (!pending) return;
    try {
      pending.answer.resolve({ payload: pending.read(noise), instance, tickets });
    } catch (thrown) {
      pending.failure = asSallyportError(thrown);
    }
  }

  /** Only the peer that the offer went to is heard. */
  #pendingWith({ session, from }: { session: Uint8Array; from: Uint8Array }): PendingOffer | undefined {
    const pending = this.#pending.get(hex(session));
    return pending?.to === peerIdOf(from) ? pending : undefined;
  }

  #remember(key: string, to: PeerId): void {
    this.#over.set(key, to);
    const [oldest] = this.#over.keys();
    if (oldest !== undefined && this.#over.size > REMEMBERED) this.#over.delete(oldest);
  }

  #silence(isRepeated: boolean): SallyportError {
    if (!this.#options.deployment.registered) return down();
    if (isRepeated)
      return new SallyportError('TIMEOUT', 'the connection to the rendezvous broke, and no answer came', {
        hint: 'try again; if it stays so, packets as long as an offer may be lost on the way: try an MTU of 1280',
      });
    return new SallyportError('TIMEOUT', 'the peer did not answer', {
      hint: 'it may be overloaded, or its network may lose long packets; try again',
    });
  }

  #refusal(code: string): SallyportError {
    switch (code) {
      case 'NOT_AUTHORIZED':
        return new SallyportError('NOT_AUTHORIZED', 'the peer does not allow this id', {
          hint: `there: peer allow ${this.#options.identity.id}`,
        });
      case 'LIMIT':
        return new SallyportError('LIMIT', 'the peer has as many sessions with this id as it allows');
      case 'SESSION_UNKNOWN':
        return new SallyportError(code, 'the peer has given this session up, or was started anew');
      default:
        return remoteFailure(code, 'the peer refused the session', 'NOT_AUTHORIZED');
    }
  }
}

function down(): SallyportError {
  return new SallyportError('RENDEZVOUS_UNREACHABLE', 'the connection to the rendezvous is down');
}
