/** Round-trip times of one path: smoothed as in RFC 6298 §2, and the least seen. */
export class RoundTrip {
  #smoothed: number | undefined;
  #least: number | undefined;

  get smoothed(): number | undefined {
    return this.#smoothed;
  }

  get least(): number | undefined {
    return this.#least;
  }

  sample(ms: number): void {
    this.#smoothed = this.#smoothed === undefined ? ms : this.#smoothed + (ms - this.#smoothed) / 8;
    this.#least = Math.min(this.#least ?? ms, ms);
  }
}
