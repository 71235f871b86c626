/**
 * A seeded source of randomness for the simulated internet (sfc32). Every link direction, NAT and host forks a
 * stream of its own by name, so that one more packet here changes no draw over there.
 */
export class Random {
  readonly #seed: string;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number | string) {
    this.#seed = String(seed);
    this.#a = hashText(this.#seed, 0x811c9dc5);
    this.#b = hashText(this.#seed, 0x9e3779b9);
    this.#c = hashText(this.#seed, 0x85ebca6b);
    for (let round = 0; round < 12; round++) this.next();
  }

  /** Uniform in [0, 1). */
  next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 0x1_0000_0000;
  }

  /** Uniform in [low, high], both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  /** True in `percent` of 100 draws; draws nothing for 0 so that switched-off faults cost no randomness. */
  percent(percent: number): boolean {
    return percent > 0 && this.next() * 100 < percent;
  }

  /** How many events of a Poisson process fall in an interval that expects `mean` of them. */
  poisson(mean: number): number {
    if (mean > 30) return Math.max(0, Math.round(mean + Math.sqrt(mean) * this.#normal()));
    const limit = Math.exp(-mean);
    let count = 0;
    for (let product = this.next(); product > limit; product *= this.next()) count++;
    return count;
  }

  /** An independent stream, the same for the same seed and label. */
  fork(label: string): Random {
    return new Random(`${this.#seed}/${label}`);
  }

  #normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }
}

/** FNV-1a over UTF-16 code units, as an unsigned 32-bit number. */
export function hashText(text: string, basis = 0x811c9dc5): number {
  let hash = basis;
  for (let index = 0; index < text.length; index++) hash = mix(hash, text.charCodeAt(index));
  return hash >>> 0;
}

/** One FNV-1a step with a 32-bit value in place of a byte. */
export function mix(hash: number, value: number): number {
  return Math.imul(hash ^ value, 0x01000193);
}
