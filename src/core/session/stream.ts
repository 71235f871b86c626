import { ZERO } from '../zero.ts';
import type { ErrorCode } from '../errors.ts';
import type { StreamId } from './events.ts';
import type { SessionLimits } from './limits.ts';
import { SendQueue } from './send-queue.ts';
import { ReceiveWindow } from './window.ts';

/**
 * One stream's state. Each direction ends with exactly one FIN or RESET that counts; after both the stream is settled.
 * A RESET stops both directions, so whoever gets one and has not ended its own side answers with another.
 */
export class StreamState {
  readonly id: StreamId;
  readonly local: boolean;
  readonly queue = new SendQueue();
  readonly receive: ReceiveWindow;
  /** The opaque header, until OPEN is framed. */
  openHeader: Uint8Array | undefined;
  /** Bytes framed as DATA. */
  sent = ZERO;
  sendLimit = ZERO;
  /** The writer waits for `drained`. */
  awaitsDrain = false;
  /** The writer has ended its side; FIN follows the queue. */
  endRequested = false;
  finSent = false;
  /** A RESET that waits to be framed. */
  resetRequested: { code: ErrorCode | undefined; message: string } | undefined;
  resetSent = false;
  finReceived = false;
  resetReceived = false;
  /** Nobody reads any more: what arrives counts as consumed. */
  discards = false;
  /** Seen as settled: no longer counted among the streams that a closing session waits for. */
  counted = true;
  /** Where it stands in the scheduler's two rounds. */
  inControlRound = false;
  inDataRound = false;

  constructor(id: StreamId, local: boolean, limits: SessionLimits) {
    this.id = id;
    this.local = local;
    this.sendLimit = limits.initialStreamWindow;
    this.receive = new ReceiveWindow(limits.initialStreamWindow, limits.maxStreamWindow);
  }

  get sendClosed(): boolean {
    return this.finSent || this.resetSent;
  }

  get receiveClosed(): boolean {
    return this.finReceived || this.resetReceived;
  }

  /** Both directions have ended, and no RESET of ours is outstanding. */
  get settled(): boolean {
    return this.sendClosed && this.receiveClosed && this.resetRequested === undefined;
  }

  get finDue(): boolean {
    return (
      this.endRequested && !this.sendClosed && this.resetRequested === undefined && this.queue.bytes === 0
    );
  }

  get windowDue(): boolean {
    return !this.receiveClosed && !this.discards && this.receive.due;
  }

  get controlDue(): boolean {
    return (
      this.openHeader !== undefined || this.resetRequested !== undefined || this.finDue || this.windowDue
    );
  }

  get sendable(): number {
    return Math.min(this.queue.bytes, this.sendLimit - this.sent);
  }
}
