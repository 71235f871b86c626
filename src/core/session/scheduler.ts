import { Fifo } from './fifo.ts';
import type { StreamState } from './stream.ts';

/**
 * Whose turn it is. Streams with OPEN, RESET, WINDOW or FIN to send stand in one round, streams with data that their
 * own windows allow in another; each gets one frame and goes to the end of its round.
 *
 * A stream that had nothing to send when the round last came by has its next turn at once (RFC 8290 §4.1: new flows
 * before old ones), so a few bytes don't wait for a frame of each bulk stream. Once served it stands in the round, with
 * data or without, until its turn comes: so it can't take the place of others again and again.
 */
export class Scheduler {
  readonly #control = new Fifo<StreamState>();
  readonly #fresh = new Fifo<StreamState>();
  readonly #data = new Fifo<StreamState>();

  /** Streams that may have data to send. */
  get waiting(): number {
    return this.#fresh.length + this.#data.length;
  }

  /** To be called after any change that may give the stream something to send. */
  schedule(stream: StreamState): void {
    if (!stream.inControlRound && stream.controlDue) {
      stream.inControlRound = true;
      this.#control.push(stream);
    }
    if (!stream.inDataRound && stream.sendable > 0) {
      stream.inDataRound = true;
      this.#fresh.push(stream);
    }
  }

  /** The next stream that still has a control frame to send; `schedule` it again afterwards. */
  takeControl(): StreamState | undefined {
    for (;;) {
      const stream = this.#control.shift();
      if (!stream) return undefined;
      stream.inControlRound = false;
      if (stream.controlDue) return stream;
    }
  }

  /** The next stream that still has data to send. */
  takeData(): StreamState | undefined {
    for (;;) {
      const stream = this.#fresh.shift() ?? this.#data.shift();
      if (!stream) return undefined;
      if (stream.sendable > 0) {
        this.#data.push(stream);
        return stream;
      }
      stream.inDataRound = false;
    }
  }
}
