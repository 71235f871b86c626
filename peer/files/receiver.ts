import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import type { Session } from '../session.ts';
import type { TargetFolder } from './folder.ts';
import { receiveFiles } from './receive.ts';
import type { FileOutcome } from './send.ts';

/** The name of the service that takes files. */
export const FILES_SERVICE = 'files';

/** What is told of one transfer. */
export interface ReceptionEvents {
  readonly onBytes: (count: number) => void;
  readonly onOutcome: (outcome: FileOutcome) => void;
  /** Over, with what broke it. */
  readonly onEnd: (error?: SallyportError) => void;
}

/** Who writes to a part, and when that one has stopped. */
interface Claim {
  readonly stream: SessionStream;
  readonly ended: Promise<void>;
}

/** Takes files into one folder, from any number of senders at once. */
export class FileReceiver {
  readonly #folder: TargetFolder;
  readonly #watch: (session: Session) => ReceptionEvents;
  readonly #claims = new Map<string, Claim>();

  constructor(folder: TargetFolder, watch: (session: Session) => ReceptionEvents) {
    this.#folder = folder;
    this.#watch = watch;
  }

  /** A service's handler (`Peer.handle`). */
  readonly handle = (stream: SessionStream, session: Session): void => {
    const { onEnd, ...events } = this.#watch(session);
    const claims: string[] = [];
    const claim = async (part: string) => {
      await this.#takeOver(part, stream);
      claims.push(part);
      this.#claims.set(part, { stream, ended });
    };
    const options = { stream, peer: session.peer, folder: this.#folder, claim, ...events };
    const receiving = receiveFiles(options);
    const ended = receiving.then(
      () => onEnd(),
      (thrown: unknown) => {
        const error = asSallyportError(thrown);
        stream.destroy(error);
        onEnd(error);
      },
    );
    void ended.then(() => {
      for (const part of claims) {
        if (this.#claims.get(part)?.stream === stream) this.#claims.delete(part);
      }
    });
  };

  /** A sender that begins anew goes on with its part; its broken session may not have noticed yet. */
  async #takeOver(part: string, stream: SessionStream): Promise<void> {
    const other = this.#claims.get(part);
    if (!other || other.stream === stream) return;
    other.stream.reset('ABORTED', 'the sender has begun anew');
    await other.ended;
  }
}
