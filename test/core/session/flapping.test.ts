import { describe, expect, it } from 'vitest';
import { Pair, type End, type LinkOptions } from './pair.ts';

const RATE = 2_000;
const relay: LinkOptions = { delayMs: 20, rate: RATE, info: { kind: 'relay-h1', direct: false } };
const udp: LinkOptions = { delayMs: 10, rate: RATE, info: { kind: 'udp', direct: true } };
const tcp: LinkOptions = { delayMs: 10, rate: RATE, info: { kind: 'tcp', direct: true } };
const PUNCH_MS = 700;
const BEAT_MS = 10;
const BEAT = Buffer.alloc(4_096);

/** Two ends that always have something to say to each other, by the relay and by direct paths that flap. */
class FlappingPair extends Pair {
  longestStallMs = 0;
  readonly #heard: { end: End; bytes: number; at: number }[];
  readonly #stream: number;
  #flapsSince = Infinity;
  #flapMs = 0;

  constructor() {
    super();
    this.addPath(relay);
    this.#stream = this.a.open();
    this.run(100);
    this.#heard = [this.a, this.b].map((end) => ({ end, bytes: 0, at: this.now }));
    this.#beat();
    this.#punch();
  }

  /** From now on every direct path is cut and restored in turn, each for so long. */
  flap(everyMs: number): void {
    this.#flapMs = everyMs;
    this.#flapsSince = this.now;
  }

  readonly #isOut = (at: number): boolean => Math.floor((at - this.#flapsSince) / this.#flapMs) % 2 === 0;

  /** Whichever direct path is missing is made anew, where that can be. */
  #punch(): void {
    const up = new Set(this.a.machine.stats.paths.map(({ path }) => path.kind));
    for (const options of [udp, tcp]) {
      if (up.has(options.info!.kind!) || this.#isOut(this.now)) continue;
      this.cutWhile(this.addPath(options), this.#isOut);
    }
    this.at(this.now + PUNCH_MS, () => this.#punch());
  }

  #beat(): void {
    for (const heard of this.#heard) {
      heard.end.write(this.#stream, BEAT);
      const { bytes } = heard.end.of(this.#stream);
      if (bytes > heard.bytes) {
        this.longestStallMs = Math.max(this.longestStallMs, this.now - heard.at);
        heard.at = this.now;
        heard.bytes = bytes;
      }
    }
    this.at(this.now + BEAT_MS, () => this.#beat());
  }
}

describe('direct paths that are cut and restored again and again', () => {
  it.each([1_700, 2_000, 3_100, 4_000])(
    'stall a session for no longer than it takes to see that one is dead, every %d ms',
    (flapMs) => {
      const pair = new FlappingPair();
      pair.run(5_000);
      pair.flap(flapMs);
      pair.run(240_000);
      expect(pair.longestStallMs).toBeLessThan(1_700);
    },
  );
});
