import { describe, expect, it } from 'vitest';
import { Random } from '../../sim/random.ts';
import { Pair, type End, type LinkOptions } from './pair.ts';

/** What flaps, beside what, and under what. */
interface Flapping {
  readonly relay: LinkOptions;
  readonly direct: readonly LinkOptions[];
  /** Bytes that an end says at once, and how often. */
  readonly beatBytes: number;
  readonly beatMs: number;
  readonly punchMs: number;
  /** The responder has nothing to say. */
  readonly oneWay: boolean;
}

const RATE = 2_000;

const plain: Flapping = {
  relay: { delayMs: 20, rate: RATE, info: { kind: 'relay-h1', direct: false } },
  direct: (['udp', 'tcp'] as const).map((kind) => ({
    delayMs: 10,
    rate: RATE,
    info: { kind, direct: true },
  })),
  beatBytes: 4_096,
  beatMs: 10,
  punchMs: 700,
  oneWay: false,
};

/** Links of any kind, and little to say or more than they carry. */
function anyFlapping(random: Random): Flapping {
  const between = (low: number, high: number) => low + (high - low) * random.next();
  const rate = between(500, 20_000);
  const relayRate = between(500, 20_000);
  const beatMs = between(2, 30);
  const link = (linkRate: number, info: NonNullable<LinkOptions['info']>): LinkOptions => ({
    delayMs: between(2, 40),
    rate: linkRate,
    bufferBytes: between(0, 2_000_000),
    info,
  });
  const direct = (['udp', 'tcp'] as const).map((kind) => link(rate, { kind, direct: true }));
  return {
    relay: link(relayRate, { kind: 'relay-h1', direct: false }),
    direct: random.next() < 0.3 ? direct.slice(0, 1) : direct,
    beatBytes: Math.ceil(Math.min(rate, relayRate) * beatMs * between(0.05, 1.3)),
    beatMs,
    punchMs: between(100, 1_500),
    oneWay: random.next() < 0.3,
  };
}

/** Two ends that always have something to say to each other, by the relay and by direct paths that flap. */
class FlappingPair extends Pair {
  longestStallMs = 0;
  readonly #how: Flapping;
  readonly #heard: { end: End; bytes: number; at: number }[];
  readonly #stream: number;
  #flapsSince = Infinity;
  #flapMs = 0;

  constructor(how: Flapping) {
    super();
    this.#how = how;
    this.addPath(how.relay);
    this.#stream = this.a.open();
    this.run(100);
    const listening = how.oneWay ? [this.b] : [this.a, this.b];
    this.#heard = listening.map((end) => ({ end, bytes: 0, at: this.now }));
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
    for (const options of this.#how.direct) {
      if (up.has(options.info!.kind!) || this.#isOut(this.now)) continue;
      this.cutWhile(this.addPath(options), this.#isOut);
    }
    this.at(this.now + this.#how.punchMs, () => this.#punch());
  }

  #beat(): void {
    const { beatBytes, beatMs, oneWay } = this.#how;
    this.a.write(this.#stream, Buffer.alloc(beatBytes));
    if (!oneWay) this.b.write(this.#stream, Buffer.alloc(beatBytes));
    for (const heard of this.#heard) {
      const received = heard.end.of(this.#stream);
      received.chunks.length = 0;
      if (received.bytes === heard.bytes) continue;
      this.longestStallMs = Math.max(this.longestStallMs, this.now - heard.at);
      Object.assign(heard, { bytes: received.bytes, at: this.now });
    }
    this.at(this.now + beatMs, () => this.#beat());
  }
}

describe('direct paths that are cut and restored again and again', () => {
  it.each([1_700, 2_000, 3_100, 4_000])(
    'stall a session for no longer than it takes to see that one is dead, every %d ms',
    (flapMs) => {
      const pair = new FlappingPair(plain);
      pair.run(5_000);
      pair.flap(flapMs);
      pair.run(240_000);
      expect(pair.longestStallMs).toBeLessThan(1_700);
    },
  );

  // 31, 42 and 61 have stalled for more than two seconds.
  it.each([31, 42, 61, ...Array.from({ length: 12 }, (_, seed) => seed)])(
    'do so whatever the links are like and whenever it happens, seed %d',
    (seed) => {
      const random = new Random(`flapping ${seed}`);
      const pair = new FlappingPair(anyFlapping(random));
      pair.run(5_000 + 2_000 * random.next());
      pair.flap(random.next() < 0.5 ? 2_000 : 2_000 + 3_000 * random.next());
      pair.run(60_000);
      expect(pair.longestStallMs).toBeLessThan(2_000);
    },
  );
});
