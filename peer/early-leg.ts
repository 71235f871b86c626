import type { Leg } from '../src/net/circuit.ts';
import { forsake } from '../src/net/reset.ts';

/**
 * The initiator's leg of a circuit, opened while its offer is on its way: the keys come with the answer, and by then the
 * relay has had its round trip. What doesn't come of it costs nothing but a leg, and is dialled anew as ever.
 */
export class EarlyLeg {
  readonly #open: (ticket: Uint8Array) => Promise<Leg>;
  #opening: Promise<Leg | undefined> | undefined;

  constructor(open: (ticket: Uint8Array) => Promise<Leg>) {
    this.#open = open;
  }

  /** Tickets for it; the first ones that come count. */
  take([ticket]: readonly Uint8Array[]): void {
    if (!ticket) return;
    this.#opening ??= this.#open(ticket).then(guarded, () => undefined);
  }

  /** `undefined` where there is none, or none any more. */
  async claim(): Promise<Leg | undefined> {
    const leg = await this.#opening;
    return leg?.pipe.destroyed ? undefined : leg;
  }

  /** It isn't wanted. A relay doesn't read from a leg that waits, so it hears of a reset at once, and of an end only when it looks. */
  discard(): void {
    void this.#opening?.then((leg) => leg && forsake(leg.pipe));
  }
}

/** One that fails before it is claimed has failed in silence. */
function guarded(leg: Leg): Leg {
  leg.pipe.on('error', () => {});
  return leg;
}
