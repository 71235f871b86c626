/** What one `transmit` carries: whole frames for one path, their payloads by reference. */
export class Batch {
  readonly chunks: Uint8Array[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** Behind the first `count` chunks. */
  insert(count: number, chunk: Uint8Array): void {
    this.chunks.splice(count, 0, chunk);
    this.#bytes += chunk.length;
  }

  add(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) {
      this.chunks.push(chunk);
      this.#bytes += chunk.length;
    }
  }
}
