/** What one `transmit` carries: whole frames for one path, their payloads by reference. */
export class Batch {
  readonly chunks: Uint8Array[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  add(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) {
      this.chunks.push(chunk);
      this.#bytes += chunk.length;
    }
  }
}
