import type { Instant } from '../machine.ts';
import { ZERO } from '../zero.ts';

/**
 * A figure as it has been lately: its extreme in the span that runs and in the one before. So an old extreme is
 * forgotten, but never at the moment at which a span begins (as BBR filters its bandwidth over two cycles,
 * MaxBwFilterLen in draft-cardwell-iccrg-bbr-congestion-control). Who notes samples decides when the next span begins,
 * since not every sample is fit to replace what is known.
 */
abstract class Windowed {
  readonly #none: number;
  protected current: number;
  protected previous: number;
  #spanEndsAt: Instant = -Infinity;

  constructor(none: number) {
    this.#none = none;
    this.current = none;
    this.previous = none;
  }

  /** The span has had its time: the next one may begin. */
  isOver(now: Instant): boolean {
    return now >= this.#spanEndsAt;
  }

  /** What was noted in the span before the one that ends is forgotten. */
  beginSpan(now: Instant): void {
    this.previous = this.current;
    this.current = this.#none;
    this.#spanEndsAt = now + SPAN_MS;
  }
}

/** The greatest. */
export class WindowedMax extends Windowed {
  constructor() {
    super(ZERO);
  }

  /** Zero where nothing was noted. */
  get value(): number {
    return Math.max(this.current, this.previous);
  }

  note(sample: number): void {
    this.current = Math.max(this.current, sample);
  }
}

/** The least. */
export class WindowedMin extends Windowed {
  constructor() {
    super(Infinity);
  }

  /** `Infinity` where nothing was noted. */
  get value(): number {
    return Math.min(this.current, this.previous);
  }

  note(sample: number): void {
    this.current = Math.min(this.current, sample);
  }
}

const SPAN_MS = 5000;
