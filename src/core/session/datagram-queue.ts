import assert from 'node:assert';
import type { Batch } from './batch.ts';
import { Fifo } from './fifo.ts';
import { encodeHeader, FrameType, MAX_FRAME_PAYLOAD } from './frame.ts';

/** Datagrams that wait for the sending path. They are sent once; of too many the newest are worth more than the oldest. */
export class DatagramQueue {
  readonly #most: number;
  readonly #waiting = new Fifo<Uint8Array>();
  #dropped = 0;

  /** @param most how many wait at a time */
  constructor(most: number) {
    this.#most = most;
  }

  /** How many were never sent. */
  get dropped(): number {
    return this.#dropped;
  }

  push(bytes: Uint8Array): void {
    assert(bytes.length <= MAX_FRAME_PAYLOAD, 'a datagram fits into one frame');
    this.#waiting.push(bytes);
    if (this.#waiting.length <= this.#most) return;
    this.#waiting.shift();
    this.#dropped += 1;
  }

  /** Adds datagrams until the batch has `room` bytes, or a last one more. */
  addTo(batch: Batch, room: number): void {
    while (batch.bytes < room) {
      const datagram = this.#waiting.shift();
      if (!datagram) return;
      batch.add([encodeHeader(FrameType.DATAGRAM, datagram.length, 0, 0), datagram]);
    }
  }
}
