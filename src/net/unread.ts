import { Fifo } from '../core/session/fifo.ts';

/** A smaller piece is copied: by itself it would keep a record of its own, and the whole chunk that it came in. */
const SMALL_BYTES = 4096;
const BLOCK_BYTES = 2 * SMALL_BYTES;

/** What a stream has received and nobody has taken, in order: little more than its bytes, in however small pieces a peer sends them. */
export class Unread {
  readonly #chunks = new Fifo<Uint8Array>();
  /** Small pieces after those, gathered in a block: so many bytes of it. */
  #block: Uint8Array | undefined;
  #gathered = 0;

  get isEmpty(): boolean {
    return this.#chunks.length === 0 && this.#block === undefined;
  }

  push(bytes: Uint8Array): void {
    if (this.#gathered + bytes.length > BLOCK_BYTES || bytes.length >= SMALL_BYTES) this.#closeBlock();
    if (bytes.length >= SMALL_BYTES) this.#chunks.push(bytes);
    else this.#gather(bytes);
  }

  /** The oldest; `undefined` where there is none. */
  shift(): Uint8Array | undefined {
    if (this.#chunks.length === 0) this.#closeBlock();
    return this.#chunks.shift();
  }

  /** The first piece, which is mostly the only one, gets no more room than it takes. */
  #gather(bytes: Uint8Array): void {
    const gathered = this.#gathered + bytes.length;
    if (this.#block === undefined) this.#block = Buffer.from(bytes);
    else {
      if (gathered > this.#block.length) this.#block = enlarged(this.#block);
      this.#block.set(bytes, this.#gathered);
    }
    this.#gathered = gathered;
  }

  #closeBlock(): void {
    if (this.#block === undefined) return;
    this.#chunks.push(this.#block.subarray(0, this.#gathered));
    this.#block = undefined;
    this.#gathered = 0;
  }
}

function enlarged(block: Uint8Array): Uint8Array {
  const larger = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  larger.set(block);
  return larger;
}
