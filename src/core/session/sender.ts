import type { Instant } from '../machine.ts';
import type { Batch } from './batch.ts';
import { encodeHeader, FRAME_HEADER_BYTES, FrameType } from './frame.ts';
import type { SessionLimits } from './limits.ts';
import type { Path } from './path.ts';
import type { ResendBuffer, SentFrame } from './resend.ts';

/**
 * Makes the next reliable frame; `undefined` where nothing is to be said. DATA has a payload of at most `room` bytes, and of
 * no more than `frameBytes` where so many streams wait.
 */
export type FrameSource = (
  sequence: number,
  frameBytes: (streams: number) => number,
  room: number,
) => SentFrame | undefined;

/**
 * The sending half of the sequence. All reliable frames of this end are numbered in one row, whatever stream they are
 * of, and every path has a cursor in it:
 *
 *     first                 cursor                  next
 *       |  sent here, not     |  sent on an earlier   |  not made yet: taken from
 *       |  acknowledged       |  path only            |  the source when there is room
 *
 * A path that becomes the sending one starts with its cursor at `first`, and ACTIVE tells the peer so. Within a path
 * nothing is ever sent twice: the carrier is reliable, and only its death loses frames.
 */
export class SequenceSender {
  readonly #limits: SessionLimits;
  readonly #buffer: ResendBuffer;
  readonly #source: FrameSource;
  #resent = 0;

  constructor(limits: SessionLimits, buffer: ResendBuffer, source: FrameSource) {
    this.#limits = limits;
    this.#buffer = buffer;
    this.#source = source;
  }

  /** The number of the next new frame, so also how many there were. */
  get next(): number {
    return this.#buffer.next;
  }

  /** Frames sent and not acknowledged. */
  get unacknowledged(): number {
    return this.#buffer.next - this.#buffer.first;
  }

  /** Frames that were sent once more on another path. */
  get resent(): number {
    return this.#resent;
  }

  /** Whether the peer, once it has read what was sent on this path, has read all. */
  isCaughtUp(path: Path): boolean {
    return path.cursor === this.#buffer.next && !path.activeDue;
  }

  /**
   * First what must be sent again, then new frames, as far as the path's room and its share in flight reach. That share follows what
   * the peer says of round trip and window, and all of it is kept, so it has limits of our own. A batch of data ends where a TLS
   * record does: a record for what goes beyond costs as much of the processor as a full one.
   */
  addTo(batch: Batch, path: Path, now: Instant): void {
    const most = Math.min(this.#limits.batchBytes, path.room - CONTROL_ROOM);
    if (path.activeDue && batch.bytes < most) {
      path.activeDue = false;
      batch.add([encodeHeader(FrameType.ACTIVE, 0, 0, path.cursor)]);
    }
    path.busy = true;
    while (path.inFlight < Math.min(path.inFlightLimit, this.#mostInFlight)) {
      const room = most - batch.bytes - FRAME_HEADER_BYTES;
      if (room < LEAST_PAYLOAD) return;
      const frame = this.#frameFor(path, room);
      if (!frame) {
        path.busy = false;
        return;
      }
      batch.add(frame.chunks);
      path.noteSent(frame, now);
    }
  }

  /**
   * The peer has everything below `next`. What of it was sent on `path` tells how well that path delivers.
   * @returns whether that is more than was known
   * @throws SallyportError `PROTOCOL_ERROR` where so much was never sent
   */
  acknowledge(next: number, path: Path | undefined, now: Instant): boolean {
    this.#buffer.checkAcknowledgement(next);
    if (next <= this.#buffer.first) return false;
    const sentHere = Math.min(next, path?.cursor ?? 0); // below it
    let newest: SentFrame | undefined;
    while (this.#buffer.first < sentHere) {
      newest = this.#buffer.release();
      path?.noteDelivered(newest, now);
    }
    while (this.#buffer.first < next) this.#buffer.release();
    path?.skipTo(next);
    if (newest) path?.noteProgress(newest, sentHere - 1, now);
    return true;
  }

  get #mostInFlight(): number {
    const { initialSessionWindow, maxSessionWindow } = this.#limits;
    return Math.min(maxSessionWindow, Math.max(initialSessionWindow, this.#buffer.left));
  }

  #frameFor(path: Path, room: number): SentFrame | undefined {
    if (path.cursor < this.#buffer.next) {
      this.#resent += 1;
      return this.#buffer.at(path.cursor);
    }
    if (this.#buffer.controlBytes >= this.#limits.controlBytes) return undefined;
    const frame = this.#source(this.#buffer.next, path.frameBytes, room);
    if (frame) this.#buffer.append(frame);
    return frame;
  }
}

/** Room that data leaves for ACK, PING and PONG. */
const CONTROL_ROOM = 16 * 1024;
/** Less is not worth a frame; what is left of a path's room by then is a TLS record or none at all. */
const LEAST_PAYLOAD = 1024;
