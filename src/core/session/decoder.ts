import { FRAME_HEADER_BYTES, FrameType, readHeader, type FrameHeader } from './frame.ts';

/** Where decoded frames go. The header object is the decoder's own and changes with the next frame. */
export interface FrameSink {
  /** A whole frame of any type but DATA. The payload may be a view of the chunk it came in. */
  frame(header: Readonly<FrameHeader>, payload: Uint8Array): void;
  /** A slice of a DATA frame's payload, never empty; the last when `offset + slice.length` is the header's length. */
  data(header: Readonly<FrameHeader>, offset: number, slice: Uint8Array): void;
}

/**
 * Splits a path's bytes into frames, however they are cut. DATA is passed on in slices of the chunks as they
 * arrive, never gathered; the small frames are gathered only where a chunk ends inside one. Throws
 * `PROTOCOL_ERROR`, after which it must not be used.
 */
export class FrameDecoder {
  readonly #sink: FrameSink;
  readonly #header: FrameHeader = { type: 0, length: 0, stream: 0, sequence: 0 };
  readonly #partialHeader = new Uint8Array(FRAME_HEADER_BYTES);
  #partialHeaderBytes = 0;
  /** Between the end of a frame's header and the end of its payload. */
  #inPayload = false;
  /** Payload bytes of the current frame already seen. */
  #offset = 0;
  #gathered: Uint8Array = EMPTY;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      at = this.#inPayload ? this.#readPayload(chunk, at) : this.#readHeader(chunk, at);
    }
  }

  #readHeader(chunk: Uint8Array, at: number): number {
    if (this.#partialHeaderBytes === 0 && chunk.length - at >= FRAME_HEADER_BYTES) {
      readHeader(chunk, at, this.#header);
      this.#beginPayload();
      return at + FRAME_HEADER_BYTES;
    }
    const end = Math.min(chunk.length, at + FRAME_HEADER_BYTES - this.#partialHeaderBytes);
    this.#partialHeader.set(chunk.subarray(at, end), this.#partialHeaderBytes);
    this.#partialHeaderBytes += end - at;
    if (this.#partialHeaderBytes === FRAME_HEADER_BYTES) {
      this.#partialHeaderBytes = 0;
      readHeader(this.#partialHeader, 0, this.#header);
      this.#beginPayload();
    }
    return end;
  }

  #beginPayload(): void {
    this.#offset = 0;
    this.#inPayload = this.#header.length > 0;
    if (!this.#inPayload) this.#sink.frame(this.#header, EMPTY);
  }

  #readPayload(chunk: Uint8Array, at: number): number {
    const header = this.#header;
    const offset = this.#offset;
    const end = Math.min(chunk.length, at + header.length - offset);
    this.#offset += end - at;
    const complete = this.#offset === header.length;
    this.#inPayload = !complete;
    const slice = at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end);
    if (header.type === FrameType.DATA) this.#sink.data(header, offset, slice);
    else if (offset === 0 && complete) this.#sink.frame(header, slice);
    else this.#gather(offset, slice, complete);
    return end;
  }

  #gather(offset: number, slice: Uint8Array, complete: boolean): void {
    if (offset === 0) this.#gathered = Buffer.allocUnsafe(this.#header.length);
    this.#gathered.set(slice, offset);
    if (!complete) return;
    const payload = this.#gathered;
    this.#gathered = EMPTY;
    this.#sink.frame(this.#header, payload);
  }
}

const EMPTY = new Uint8Array(0);
