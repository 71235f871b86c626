import { earliest, type Instant, type Machine } from '../machine.ts';

/** So many bytes of each direction go this way; an initial window of ten packets (RFC 6928) would be three times that. */
export const FIRST_BYTES = 4_096;

export type FirstBytesInput =
  /** At most `room` bytes to be carried. */
  | { readonly type: 'write'; readonly bytes: Uint8Array }
  /** What came beside the stream. */
  | { readonly type: 'message'; readonly bytes: Uint8Array };

export type FirstBytesOutput =
  /** To be sent beside the stream; it may be lost. */
  | { readonly type: 'send'; readonly bytes: Uint8Array }
  /** What the other end wrote, in order and once. */
  | { readonly type: 'bytes'; readonly bytes: Uint8Array };

/**
 * The first 4 KiB of each direction of a path by UDP, carried by messages that are repeated until they are acknowledged:
 * tags, TLS handshake and ATTACH. udx repeats what is lost after one second and then every two; where half of the packets are
 * lost, the four flights that it takes until both ends use a path would take ten seconds. What follows goes by udx.
 *
 * ```
 *       0     1                        3                5
 *      +-----+------------------------+----------------+-----------
 *      | 80  | received in order u16  | offset u16     | bytes …
 *      +-----+------------------------+----------------+-----------
 * ```
 *
 * A message without bytes acknowledges only. What is no such message is ignored.
 */
export class FirstBytes implements Machine<FirstBytesInput, FirstBytesOutput> {
  readonly #repeatMs: number;
  readonly #outputs: FirstBytesOutput[] = [];
  /** What this end has written, and how much of that the other end has. */
  readonly #written = new Uint8Array(FIRST_BYTES);
  #writtenBytes = 0;
  #acknowledged = 0;
  #received = 0;
  #heard = false;
  #repeats = 0;
  #repeatAt: Instant | undefined;
  #acknowledgeAt: Instant | undefined;

  /** @param repeatMs until what is not acknowledged is sent again, for the first time: more than a round trip */
  constructor(repeatMs: number) {
    this.#repeatMs = repeatMs;
  }

  static isMessage(bytes: Uint8Array): boolean {
    return bytes[0] === MAGIC && bytes.length >= HEADER_BYTES;
  }

  /** Bytes that may still be written; what is more has to go another way. */
  get room(): number {
    return FIRST_BYTES - this.#writtenBytes;
  }

  /** The other end has all that was written. */
  get delivered(): boolean {
    return this.#acknowledged === this.#writtenBytes;
  }

  /** Nothing more can come this way: what has come another way follows. */
  get complete(): boolean {
    return this.#received === FIRST_BYTES;
  }

  get deadline(): Instant | undefined {
    return earliest(this.#repeatAt, this.#acknowledgeAt);
  }

  handle(input: FirstBytesInput, now: Instant): void {
    if (input.type === 'write') this.#write(input.bytes, now);
    else if (FirstBytes.isMessage(input.bytes)) this.#receive(input.bytes, now);
  }

  handleTimeout(now: Instant): void {
    if (this.#repeatAt !== undefined && this.#repeatAt <= now) {
      this.#repeats += 1;
      this.#send(this.#acknowledged, now);
    }
    if (this.#acknowledgeAt !== undefined && this.#acknowledgeAt <= now) this.#emit(this.#writtenBytes, 0);
  }

  poll(): FirstBytesOutput | undefined {
    return this.#outputs.shift();
  }

  #write(bytes: Uint8Array, now: Instant): void {
    const from = this.#writtenBytes;
    this.#written.set(bytes, from);
    this.#writtenBytes += bytes.length;
    this.#send(from, now);
  }

  #receive(message: Uint8Array, now: Instant): void {
    const view = new DataView(message.buffer, message.byteOffset, HEADER_BYTES);
    this.#onAcknowledged(view.getUint16(1), now);
    this.#onHeard(now);
    const offset = view.getUint16(3);
    const bytes = message.subarray(HEADER_BYTES);
    if (bytes.length === 0) return;
    this.#acknowledgeAt ??= now + ACKNOWLEDGE_MS;
    // What follows a gap comes again.
    if (offset > this.#received || offset + bytes.length > FIRST_BYTES) return;
    const fresh = bytes.subarray(this.#received - offset);
    if (fresh.length === 0) return;
    this.#received += fresh.length;
    this.#outputs.push({ type: 'bytes', bytes: fresh.slice() });
  }

  #onAcknowledged(received: number, now: Instant): void {
    if (received <= this.#acknowledged || received > this.#writtenBytes) return;
    this.#acknowledged = received;
    this.#repeats = 0;
    this.#repeatAt = this.delivered ? undefined : now + this.#repeatMs;
  }

  /** The other end is there now, and may not have been when the first of ours came: that is repeated sooner. */
  #onHeard(now: Instant): void {
    if (this.#heard) return;
    this.#heard = true;
    if (this.#repeatAt === undefined || this.#acknowledged > 0) return;
    this.#repeatAt = Math.min(this.#repeatAt, now + Math.max(LEAST_PAUSE_MS, this.#repeatMs / 4));
  }

  /** Everything from there on. */
  #send(from: number, now: Instant): void {
    for (let at = from; at < this.#writtenBytes; at += MESSAGE_BYTES)
      this.#emit(at, Math.min(MESSAGE_BYTES, this.#writtenBytes - at));
    const pause = Math.min(LONGEST_PAUSE_MS, this.#repeatMs * PAUSE_GROWTH ** this.#repeats);
    this.#repeatAt = now + Math.max(this.#repeatMs, pause);
  }

  #emit(offset: number, length: number): void {
    const bytes = new Uint8Array(HEADER_BYTES + length);
    const view = new DataView(bytes.buffer);
    bytes[0] = MAGIC;
    view.setUint16(1, this.#received);
    view.setUint16(3, offset);
    bytes.set(this.#written.subarray(offset, offset + length), HEADER_BYTES);
    this.#acknowledgeAt = undefined;
    this.#outputs.push({ type: 'send', bytes });
  }
}

/** The sealed datagrams that also go beside the stream begin with the zeros of their number. */
const MAGIC = 0x80;
const HEADER_BYTES = 5;
/** Fits where 1,200 bytes of IP do. */
const MESSAGE_BYTES = 1_024;
/** The answer that TLS gives at once takes the acknowledgement along. */
const ACKNOWLEDGE_MS = 10;
/** What crosses on the way is acknowledged by then. */
const LEAST_PAUSE_MS = 5;
/** Each pause is longer than the one before: a slow link shall not be filled by repeats. */
const PAUSE_GROWTH = 1.2;
const LONGEST_PAUSE_MS = 500;
