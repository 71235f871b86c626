const FIRST_PORT = 1_024;
/** So many a NAT has to choose from. */
export const PORTS = 65_536 - FIRST_PORT;

/** The ports 1024–65535 in a random order, each once: a shuffle (Fisher–Yates) that keeps only what it has moved. */
export class PortOrder {
  #integer: (below: number) => number;
  #left = PORTS;
  /** Positions whose port is not their own any more. */
  #moved = new Map<number, number>();

  /** @param integer a uniform random number from 0 to below its argument */
  constructor(integer: (below: number) => number) {
    this.#integer = integer;
  }

  next(): number | undefined {
    if (this.#left === 0) return undefined;
    const chosen = this.#integer(this.#left--);
    const port = this.#moved.get(chosen) ?? chosen;
    this.#moved.set(chosen, this.#moved.get(this.#left) ?? this.#left);
    return FIRST_PORT + port;
  }
}
