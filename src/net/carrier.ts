import type { Duplex } from 'node:stream';
import type { Clock } from './clock.ts';
import { takeChunks } from './take-chunks.ts';

export interface CarrierEvents {
  bytes(chunk: Buffer): void;
  written(bytes: number): void;
  down(reason: string): void;
}

/**
 * The byte pipe under one path: usually a TLS socket. Its end and its errors are all the same to a session, namely that
 * the path is gone; whatever else the pipe says after that is ignored.
 */
export class Carrier {
  readonly #pipe: Duplex;
  readonly #events: CarrierEvents;
  readonly #abandon: () => void;
  #down = false;
  /** Bytes that have left and are not reported yet. */
  #written = 0;

  /** @param abandon what else there is to do when the pipe goes without a farewell */
  constructor(pipe: Duplex, events: CarrierEvents, abandon: () => void = () => {}) {
    this.#pipe = pipe;
    this.#events = events;
    this.#abandon = abandon;
    takeChunks(pipe, (chunk) => {
      if (!this.#down) events.bytes(chunk);
    });
    pipe.on('end', () => this.#fell('the carrier ended'));
    pipe.on('close', () => this.#fell('the carrier closed'));
    pipe.on('error', (error) => this.#fell(`the carrier failed: ${reasonOf(error)}`));
  }

  /** Writes all chunks as one; `written` follows when they have left for the network, a few bytes with the next ones. */
  transmit(chunks: readonly Uint8Array[], bytes: number): void {
    const pipe = this.#pipe;
    if (this.#down || !pipe.writable) return;
    const left = (error?: Error | null): void => {
      if (!error) this.#noteWritten(bytes);
    };
    if (bytes <= JOINED_BYTES) {
      pipe.write(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, bytes), left);
      return;
    }
    const last = chunks.length - 1;
    pipe.cork();
    for (let index = 0; index < last; index += 1) pipe.write(chunks[index]);
    pipe.write(chunks[last], left);
    pipe.uncork();
  }

  /** Nothing is reported any more. A graceful close lets what was written leave, within a limit. */
  close(graceful: boolean, clock: Clock): void {
    this.#down = true;
    if (!graceful || !this.#pipe.writable) {
      this.#abandon();
      this.#pipe.destroy();
      return;
    }
    this.#pipe.resume();
    this.#pipe.end();
    const cancel = clock.setTimer(() => this.#pipe.destroy(), LINGER_MS);
    this.#pipe.once('close', cancel);
  }

  #noteWritten(bytes: number): void {
    if (this.#down) return;
    this.#written += bytes;
    if (this.#written < REPORTED_BYTES) return;
    this.#events.written(this.#written);
    this.#written = 0;
  }

  #fell(reason: string): void {
    if (this.#down) return;
    this.#down = true;
    this.#pipe.destroy();
    this.#events.down(reason);
  }
}

const LINGER_MS = 5000;
/** Up to here a copy costs less than a write of several parts. */
const JOINED_BYTES = 4096;
/** Of a path's room, which is many times as much: a session that sends a few bytes is not told of each. */
const REPORTED_BYTES = 16 * 1024;

/** OpenSSL's messages are of several lines, with addresses and file names; the one thing that they say stands beside. */
function reasonOf({ message, reason = message }: Error & { reason?: string }): string {
  return reason;
}
