import { Duplex } from 'node:stream';
import { ZERO } from '../core/zero.ts';
import { isErrorCode, SallyportError, type ErrorCode } from '../core/errors.ts';
import type { StreamId } from '../core/session/events.ts';
import { takesAtOnce } from './takes-at-once.ts';
import { uncaught } from './uncaught.ts';
import { Unread } from './unread.ts';

/** What a stream asks of the session that carries it. */
export interface StreamCarrier {
  write(stream: StreamId, chunks: readonly Uint8Array[]): void;
  end(stream: StreamId): void;
  reset(stream: StreamId, code: ErrorCode, message: string): void;
  consumed(stream: StreamId, bytes: number): void;
  forget(stream: StreamId): void;
}

/**
 * One stream of a session as a Node `Duplex`: each side ends alone, `finish` means that the end is on its way, and
 * destroying it before both sides have ended resets it at the peer. Buffers written must not be changed afterwards:
 * they are kept until the peer has acknowledged them. What nobody reads stays where the session counts it, but for one chunk.
 */
export class SessionStream extends Duplex {
  readonly id: StreamId;
  #bytesSent = ZERO;
  #bytesReceived = ZERO;
  readonly #carrier: StreamCarrier;
  /** Received, and not yet taken by the readable side; `undefined` while nothing waits. */
  #unread: Unread | undefined;
  #wantsData = false;
  #ended = false;
  /** The peer takes no more, although what it sent is complete: what is written goes nowhere. */
  #refused = false;
  #written: ((error?: Error | null) => void) | undefined;
  #finished: ((error?: Error | null) => void) | undefined;

  /** @internal */
  constructor(id: StreamId, carrier: StreamCarrier) {
    super({ allowHalfOpen: true, readableHighWaterMark: ONE_CHUNK, writableHighWaterMark: HIGH_WATER });
    this.id = id;
    this.#carrier = carrier;
  }

  /** Bytes handed to the session. */
  get bytesSent(): number {
    return this.#bytesSent + 0;
  }

  /** Bytes received from the peer. */
  get bytesReceived(): number {
    return this.#bytesReceived + 0;
  }

  /** @internal What belongs to the stream and went beside it, by datagrams. */
  countDatagram(way: 'sent' | 'received', bytes: number): void {
    if (way === 'sent') this.#bytesSent += bytes;
    else this.#bytesReceived += bytes;
  }

  /** Ends both directions at once; the peer's stream fails with this code and message. @throws SallyportError `USAGE` */
  reset(code: ErrorCode = 'STREAM_RESET', message = 'the stream was reset'): void {
    if (!isErrorCode(code) || typeof message !== 'string')
      throw new SallyportError('USAGE', 'a stream is reset with one of ERROR_CODES, and a text');
    this.destroy(new SallyportError(code, message));
  }

  /** @internal Bytes from the peer. */
  deliver(bytes: Uint8Array): void {
    if (this.destroyed) return;
    this.#bytesReceived += bytes.length;
    if (!this.#wantsData || this.#unread) (this.#unread ??= new Unread()).push(bytes);
    else this.#pass(bytes);
  }

  /** @internal The peer has ended its side. */
  deliverEnd(): void {
    this.#ended = true;
    this.#passEnd();
  }

  /** @internal The send queue is short again. */
  drained(): void {
    const written = this.#written;
    this.#written = undefined;
    written?.();
  }

  /** @internal The end of our side is on its way. */
  finished(): void {
    const finished = this.#finished;
    this.#finished = undefined;
    finished?.();
  }

  /** @internal Nothing goes out any more. What came in complete can still be read; only then the stream fails, never having finished. */
  fail(error: SallyportError): void {
    if (this.#ended && this.writableFinished) return;
    if (!this.#ended || this.readableEnded) {
      this.destroy(error);
      return;
    }
    this.#refused = true;
    this.once('end', () => this.destroy(error));
    process.nextTick(() => this.drained()); // others fail at the same time, whatever this one's writer throws
  }

  override push(chunk: Uint8Array | null, encoding?: BufferEncoding): boolean {
    if (chunk === null || !takesAtOnce(this)) return super.push(chunk, encoding);
    try {
      this.emit('data', chunk);
    } catch (thrown) {
      uncaught(thrown); // to whom it is pushed from, `_read`, it would be a failure of the stream's
    }
    return true;
  }

  override _read(): void {
    this.#wantsData = true;
    while (this.#wantsData && this.#unread) {
      const bytes = this.#unread.shift()!;
      if (this.#unread.isEmpty) this.#unread = undefined;
      this.#pass(bytes);
    }
    this.#passEnd();
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    this.#send([chunk], callback);
  }

  override _writev(parts: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    this.#send(
      parts.map(({ chunk }) => chunk),
      callback,
    );
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (this.#refused) return; // it fails once what came in is read
    this.#finished = callback;
    this.#carrier.end(this.id);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#unread = undefined;
    const complete = this.readableEnded && this.writableFinished;
    if (!complete) {
      const { code, message } = failureOf(error);
      this.#carrier.reset(this.id, code, message);
    }
    this.#carrier.forget(this.id);
    // Whoever waits for a write, or for the end, hears of it once the write under way is over.
    if (this.#written) process.nextTick(this.#written, error);
    this.#written = undefined;
    callback(error);
  }

  #send(chunks: readonly Uint8Array[], callback: (error?: Error | null) => void): void {
    if (this.#refused) return callback();
    this.#written = callback;
    for (const { length } of chunks) this.#bytesSent += length;
    this.#carrier.write(this.id, chunks);
  }

  #pass(bytes: Uint8Array): void {
    this.#carrier.consumed(this.id, bytes.length);
    this.#wantsData = this.push(bytes);
  }

  #passEnd(): void {
    if (this.#ended && !this.#unread && !this.destroyed) this.push(null);
  }
}

/** What the peer is told of the end of a stream that was not complete. */
function failureOf(error: Error | null): { code: ErrorCode; message: string } {
  if (error instanceof SallyportError) return error;
  if (!error) return { code: 'ABORTED', message: 'the stream was closed' };
  return { code: 'STREAM_RESET', message: `the stream broke off: ${error.message}` };
}

/** One chunk of a socket can be followed by another; how much waits beyond is up to the session. */
const HIGH_WATER = 64 * 1024 + 1;
/** Whatever its size it reaches this mark, so that Node asks for no other before it is taken. */
const ONE_CHUNK = 1;
