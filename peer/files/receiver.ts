import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import type { PeerId } from '../../src/core/identity.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { deferred } from '../../src/net/deferred.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import { Quota } from '../quota.ts';
import type { Session } from '../session.ts';
import type { TargetFolder } from './folder.ts';
import { receiveFiles } from './receive.ts';
import type { FileOutcome } from './send.ts';

/** The name of the service that takes files. */
export const FILES_SERVICE = 'files';

/** What is told of one transfer. */
export interface ReceptionEvents {
  /** Bytes that are in place now: they came, or were there before. */
  readonly onBytes: (count: number, came: boolean) => void;
  readonly onOutcome: (outcome: FileOutcome) => void;
  /** Over, with what broke it. */
  readonly onEnd: (error?: SallyportError) => void;
}

/** Who writes to a part, and when that one has stopped. */
interface Claim {
  readonly stream: SessionStream;
  readonly ended: Promise<void>;
  /** How many files of that stream are to grow there. */
  files: number;
}

/** Takes files into one folder, from any number of senders at once. */
export class FileReceiver {
  readonly #folder: TargetFolder;
  readonly #watch: (session: Session) => ReceptionEvents;
  /** By `fileKey`. */
  readonly #claims = new Map<string, Claim>();
  /** Those that are under way. */
  readonly #receptions = new Quota(LIMITS.receptionsPerPeer);
  /** Those that wait until there is room for another, by sender. */
  readonly #waiting = new Map<PeerId, Map<SessionStream, Session>>();

  constructor(folder: TargetFolder, watch: (session: Session) => ReceptionEvents) {
    this.#folder = folder;
    this.#watch = watch;
  }

  /** A service's handler (`Peer.handle`). */
  readonly handle = (stream: SessionStream, session: Session): void => {
    const { peer } = session;
    if (!this.#receptions.take(peer)) return this.#wait(stream, session);
    const { onEnd, ...events } = this.#watch(session);
    const gone = new AbortController();
    stream.once('close', () =>
      gone.abort(stream.errored ?? new SallyportError('ABORTED', 'the transfer was ended')),
    );
    const { signal } = gone;
    const claim = (key: string) => this.#claim(key, { stream, ended, files: 0 }, signal);
    const receiving = receiveFiles({ stream, peer, folder: this.#folder, signal, claim, ...events });
    const ended = receiving
      .finally(() => this.#leave(peer))
      .then(
        () => onEnd(),
        (thrown: unknown) => {
          const error = asSallyportError(thrown);
          stream.destroy(error);
          onEnd(error);
        },
      );
  };

  /** Unread, so that what it sends meanwhile stays with the sender but for a window. */
  #wait(stream: SessionStream, session: Session): void {
    const { peer } = session;
    const waiting = this.#waiting.get(peer) ?? new Map<SessionStream, Session>();
    if (waiting.size >= LIMITS.waitingReceptionsPerPeer)
      return stream.reset('LIMIT', 'too many transfers at once');
    this.#waiting.set(peer, waiting.set(stream, session));
    stream.once('close', () => this.#waitNoMore(stream, peer));
  }

  #waitNoMore(stream: SessionStream, peer: PeerId): void {
    const waiting = this.#waiting.get(peer);
    if (waiting?.delete(stream) && waiting.size === 0) this.#waiting.delete(peer);
  }

  #leave(peer: PeerId): void {
    this.#receptions.giveBack(peer);
    const [next] = this.#waiting.get(peer) ?? [];
    if (!next) return;
    this.#waitNoMore(next[0], peer);
    this.handle(...next);
  }

  /**
   * A sender that begins anew goes on with its part; its broken session may not have noticed yet. Whoever waited longer
   * may have it by the time that its holder has ended: between looking and taking, nothing is waited for. Returns what
   * gives it back; where several files share a part, the last one does. Rejects when the own stream is gone.
   */
  async #claim(key: string, own: Claim, signal: AbortSignal): Promise<() => void> {
    let held = this.#claims.get(key);
    while (held && held.stream !== own.stream) {
      held.stream.reset('ABORTED', 'the sender has begun anew');
      await unlessAborted(held.ended, signal);
      held = this.#claims.get(key);
    }
    signal.throwIfAborted();
    const claim = held ?? own;
    claim.files++;
    this.#claims.set(key, claim);
    return () => {
      claim.files--;
      if (claim.files === 0) this.#claims.delete(key);
    };
  }
}

async function unlessAborted(ended: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = deferred<void>();
  signal.addEventListener('abort', () => resolve(), { once: true });
  await Promise.race([ended, promise]);
  signal.throwIfAborted();
}
