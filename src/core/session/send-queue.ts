/** A stream's bytes that wait to be framed, kept by reference. */
export class SendQueue {
  /** `undefined` while it's empty, as in most streams most of the time. */
  #chunks: Uint8Array[] | undefined;
  #head = 0;
  /** Bytes of the first chunk that were taken already. */
  #offset = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    (this.#chunks ??= []).push(chunk);
    this.#bytes += chunk.length;
  }

  /** Appends up to `max` bytes to `into` and returns how many; many small chunks are copied into one. */
  take(max: number, into: Uint8Array[]): number {
    const before = into.length;
    const wanted = Math.min(max, this.#bytes);
    let taken = 0;
    while (taken < wanted) {
      const slice = this.#takeSlice(wanted - taken);
      into.push(slice);
      taken += slice.length;
    }
    this.#bytes -= taken;
    this.#compact();
    const count = into.length - before;
    if (count > MANY_CHUNKS && taken < count * SMALL_CHUNK)
      into.push(Buffer.concat(into.splice(before), taken));
    return taken;
  }

  clear(): void {
    this.#chunks = undefined;
    this.#head = 0;
    this.#offset = 0;
    this.#bytes = 0;
  }

  #takeSlice(max: number): Uint8Array {
    const chunk = this.#chunks![this.#head]!;
    const end = Math.min(chunk.length, this.#offset + max);
    const slice = this.#offset === 0 && end === chunk.length ? chunk : chunk.subarray(this.#offset, end);
    if (end === chunk.length) {
      this.#head += 1;
      this.#offset = 0;
    } else {
      this.#offset = end;
    }
    return slice;
  }

  #compact(): void {
    if (this.#bytes === 0) this.clear();
    else if (this.#head >= COMPACT_AT) {
      this.#chunks!.splice(0, this.#head);
      this.#head = 0;
    }
  }
}

const COMPACT_AT = 256;
const MANY_CHUNKS = 8;
const SMALL_CHUNK = 2048;
