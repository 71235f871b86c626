import { Fifo } from './fifo.ts';
import type { StreamState } from './stream.ts';

/**
 * Whose turn it is. Streams with OPEN, RESET, WINDOW or FIN to send stand in one round, streams with data that their
 * own windows allow in another; each gets one frame and goes to the end of its round.
 */
export class Scheduler {
  readonly #control = new Fifo<StreamState>();
  readonly #data = new Fifo<StreamState>();

  /** To be called after any change that may give the stream something to send. */
  schedule(stream: StreamState): void {
    if (!stream.inControlRound && stream.controlDue) {
      stream.inControlRound = true;
      this.#control.push(stream);
    }
    if (!stream.inDataRound && stream.sendable > 0) {
      stream.inDataRound = true;
      this.#data.push(stream);
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

  /** The next stream that still has data to send; `schedule` it again afterwards. */
  takeData(): StreamState | undefined {
    for (;;) {
      const stream = this.#data.shift();
      if (!stream) return undefined;
      stream.inDataRound = false;
      if (stream.sendable > 0) return stream;
    }
  }
}
