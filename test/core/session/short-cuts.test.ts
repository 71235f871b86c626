import { describe, expect, it } from 'vitest';
import { Pair, type End, type LinkOptions } from './pair.ts';

const RATE = 2_000;
const relay: LinkOptions = { delayMs: 20, rate: RATE, info: { kind: 'relay-h1', direct: false } };
const direct = (kind: 'udp' | 'tcp'): LinkOptions => ({
  delayMs: 10,
  rate: RATE,
  info: { kind, direct: true },
});
const BEAT_MS = 10;

/** Two ends that always have something to say to each other, by a direct path that is cut at times, beside the relay. */
class CutPair extends Pair {
  longestStallMs = 0;
  readonly #stream: number;
  readonly #beat: Uint8Array;
  readonly #heard: { end: End; bytes: number; at: number }[];

  constructor(kind: 'udp' | 'tcp', beatBytes: number, isOut: (at: number) => boolean) {
    super();
    this.addPath(relay);
    this.cutWhile(this.addPath(direct(kind)), isOut);
    this.#stream = this.a.open();
    this.#beat = Buffer.alloc(beatBytes);
    this.run(100);
    this.#heard = [this.a, this.b].map((end) => ({ end, bytes: 0, at: this.now }));
    this.#say();
  }

  #say(): void {
    for (const heard of this.#heard) {
      heard.end.write(this.#stream, this.#beat);
      const { bytes } = heard.end.of(this.#stream);
      if (bytes === heard.bytes) continue;
      this.longestStallMs = Math.max(this.longestStallMs, this.now - heard.at);
      Object.assign(heard, { bytes, at: this.now });
    }
    this.at(this.now + BEAT_MS, () => this.#say());
  }
}

const FROM = 6_100;
const LITTLE = 100;
const MUCH = 19_000; // 95 % of what the path carries

describe.each(['udp', 'tcp'] as const)('a direct path by %s that is cut shortly', (kind) => {
  it.each([300, 500, 800, 1_200, 1_500])('for %d ms stalls the session for little longer', (cutMs) => {
    for (const beatBytes of [LITTLE, MUCH]) {
      for (let from = FROM; from < FROM + 300; from += 30) {
        const pair = new CutPair(kind, beatBytes, (at) => at >= from && at < from + cutMs);
        pair.run(20_000);
        expect(pair.longestStallMs).toBeLessThan(cutMs + 800);
      }
    }
  });

  it('again and again stalls it no longer, and is not gone back to each time', () => {
    for (const beatBytes of [LITTLE, MUCH]) {
      const isOut = (at: number): boolean => at >= FROM && Math.floor((at - FROM) / 1_200) % 2 === 0;
      const pair = new CutPair(kind, beatBytes, isOut);
      pair.run(120_000);
      expect(pair.longestStallMs).toBeLessThan(2_000);
      expect(pair.a.events.filter(({ state }) => state === 'active').length).toBeLessThan(12);
    }
  });
});
