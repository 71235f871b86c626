/** Round-trip times of one path: smoothed as in RFC 6298 §2, the latest, and the least seen. */
export class RoundTrip {
  #smoothed: number | undefined;
  #latest: number | undefined;
  #least: number | undefined;

  get smoothed(): number | undefined {
    return this.#smoothed;
  }

  get latest(): number | undefined {
    return this.#latest;
  }

  get least(): number | undefined {
    return this.#least;
  }

  sample(ms: number): void {
    this.#latest = ms;
    this.#smoothed = this.#smoothed === undefined ? ms : this.#smoothed + (ms - this.#smoothed) / 8;
    this.#least = Math.min(this.#least ?? ms, ms);
  }
}
