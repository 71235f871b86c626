import { once } from 'node:events';
import {
  bytesHeader,
  messageFrame,
  TransferDecoder,
  type TransferFrame,
} from '../../src/core/transfer/frame.ts';
import { SallyportError } from '../../src/core/errors.ts';
import type { TransferMessage } from '../../src/core/transfer/message.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';

/** A stream of a session as one of frames; writing waits for the peer to take what was written. */
export class TransferChannel {
  readonly #stream: SessionStream;
  /** Something was written that leaves with whatever else is by the end of this turn of the event loop. */
  #gathering = false;

  constructor(stream: SessionStream) {
    this.#stream = stream;
  }

  async send(message: TransferMessage): Promise<void> {
    await this.#write([messageFrame(message)]);
  }

  /** Bytes of the file that was started last; they must not be changed afterwards. */
  async sendBytes(bytes: Uint8Array): Promise<void> {
    await this.#write([bytesHeader(bytes.length), bytes]);
  }

  /** Until the peer ends its side. Only what is asked for is read, so that a slow disk slows the peer down. */
  async *frames(): AsyncGenerator<TransferFrame> {
    const decoder = new TransferDecoder();
    for await (const chunk of this.#stream.iterator({ destroyOnReturn: false })) {
      yield* decoder.push(chunk as Uint8Array);
    }
  }

  end(): void {
    this.#stream.end();
  }

  async #write(parts: readonly Uint8Array[]): Promise<void> {
    if (this.#stream.destroyed)
      throw this.#stream.errored ?? new SallyportError('ABORTED', 'the transfer was ended');
    this.#gather();
    for (const part of parts) this.#stream.write(part);
    if (!this.#stream.writableNeedDrain) return;
    this.#leave();
    if (this.#stream.writableNeedDrain) await once(this.#stream, 'drain');
  }

  /** Small files are many small frames: sent one by one, each would be a record and a packet of its own. */
  #gather(): void {
    if (this.#gathering) return;
    this.#gathering = true;
    this.#stream.cork();
    setImmediate(() => this.#leave());
  }

  #leave(): void {
    if (!this.#gathering) return;
    this.#gathering = false;
    this.#stream.uncork();
  }
}
