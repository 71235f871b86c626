import type { Instant } from '../machine.ts';

/** How many recent samples compete; older ones are forgotten so that drift and a changed route show. */
const SAMPLES = 8;

/**
 * The rendezvous's clock as seen from here, from ping and pong (NTP's clock filter, RFC 5905 §10): of the recent
 * round trips the quickest one errs least.
 */
export class ClockOffset {
  #samples: { readonly offsetMs: number; readonly rttMs: number }[] = [];

  /**
   * @param sent our clock when the ping left
   * @param received our clock when the pong came
   * @param theirs their clock between the two
   */
  add(sent: Instant, received: Instant, theirs: Instant): void {
    const rttMs = Math.max(0, received - sent);
    this.#samples.push({ offsetMs: theirs - (sent + rttMs / 2), rttMs });
    if (this.#samples.length > SAMPLES) this.#samples.shift();
  }

  /** Add this to our clock to get theirs; `undefined` before the first sample. */
  get offsetMs(): number | undefined {
    return this.#best?.offsetMs;
  }

  get rttMs(): number | undefined {
    return this.#best?.rttMs;
  }

  /** Another clock or another way to it: what was measured says nothing any more. */
  reset(): void {
    this.#samples = [];
  }

  get #best() {
    return this.#samples.reduce<{ offsetMs: number; rttMs: number } | undefined>(
      (best, sample) => (best && best.rttMs <= sample.rttMs ? best : sample),
      undefined,
    );
  }
}
