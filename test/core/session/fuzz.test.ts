import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { SallyportError } from '../../../src/core/errors.ts';
import type { PathKind, StreamId } from '../../../src/core/session/events.ts';
import { Pair, pattern, type End } from './pair.ts';

const SEEDS = Number(process.env['SALLYPORT_FUZZ_SEEDS'] ?? 100);
const STEPS = 150;

/** What was written to one direction of a stream, and how that ended. */
interface Written {
  from: End;
  to: End;
  stream: StreamId;
  hash: ReturnType<typeof createHash>;
  bytes: number;
  ended: boolean;
}

/** mulberry32 */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Streams open, write, end and reset at random while paths come, die, and go silent. */
class Fuzz {
  readonly pair = new Pair({ limits: { streams: 12 } });
  readonly #random: () => number;
  readonly #directions: Written[] = [];
  readonly #reset = new Set<StreamId>();
  readonly #paths: number[] = [];

  constructor(seed: number) {
    this.#random = random(seed);
    this.pair.chunkBytes = this.#pick([100, 1400, 16 * 1024]);
  }

  step(): void {
    const chance = this.#random();
    if (chance < 0.1) this.#open();
    else if (chance < 0.55) this.#write();
    else if (chance < 0.62) this.#end();
    else if (chance < 0.66) this.#resetOne();
    else if (chance < 0.74 && this.#paths.length < 4) this.#addPath();
    else if (chance < 0.8) this.#losePath();
    this.pair.run(this.#pick([0, 1, 10, 100, 1000]) * this.#random());
  }

  /** Heals everything, ends everything, and says what came out otherwise than it was written. */
  finish(): unknown[] {
    for (const path of this.#paths) this.pair.killPath(path);
    this.pair.addPath({ delayMs: 5, info: { kind: 'tcp' } });
    for (const direction of this.#directions) this.#endOne(direction);
    this.pair.run(60_000);
    const { a, b } = this.pair;
    const wrong: unknown[] = [a.closed, b.closed].filter((end) => end !== undefined);
    for (const { to, stream, hash, bytes } of this.#directions) {
      if (this.#reset.has(stream)) continue;
      const received = createHash('sha256').update(to.bytesOf(stream)).digest('hex');
      const { bytes: receivedBytes, ended } = to.of(stream);
      if (!ended || received !== hash.digest('hex')) wrong.push({ stream, bytes, receivedBytes, ended });
    }
    for (const { stats } of [a.machine, b.machine]) {
      if (stats.streams + stats.unreadBytes + stats.unacknowledgedFrames > 0) wrong.push(stats);
    }
    return wrong;
  }

  #open(): void {
    const [from, to] = this.#ends();
    try {
      const stream = from.open();
      for (const [source, target] of [[from, to] as const, [to, from] as const]) {
        this.#directions.push({
          from: source,
          to: target,
          stream,
          hash: createHash('sha256'),
          bytes: 0,
          ended: false,
        });
      }
    } catch (error) {
      if (!(error instanceof SallyportError && error.code === 'LIMIT')) throw error;
    }
  }

  #write(): void {
    const direction = this.#pick(this.#directions);
    if (!direction || direction.ended || !this.#knows(direction)) return;
    const bytes = pattern(
      Math.floor(this.#pick([10, 1000, 200_000]) * this.#random()) + 1,
      direction.bytes + 1,
    );
    direction.hash.update(bytes);
    direction.bytes += bytes.length;
    direction.from.write(direction.stream, bytes);
  }

  #end(): void {
    const direction = this.#pick(this.#directions);
    if (direction && this.#knows(direction)) this.#endOne(direction);
  }

  #endOne(direction: Written): void {
    if (direction.ended) return;
    direction.ended = true;
    const { from, stream } = direction;
    if (!this.#reset.has(stream)) this.pair.run(60_000, () => this.#knows(direction));
    from.handle({ type: 'end', stream });
  }

  #resetOne(): void {
    const direction = this.#pick(this.#directions);
    if (!direction || !this.#knows(direction)) return;
    this.#reset.add(direction.stream);
    direction.from.handle({ type: 'reset', stream: direction.stream, code: 'ABORTED', message: 'fuzz' });
  }

  #addPath(): void {
    const kind: PathKind = this.#pick(['udp', 'tcp', 'relay-h1', 'relay-ws']);
    this.#paths.push(
      this.pair.addPath({
        delayMs: this.#pick([1, 20, 150]),
        rate: this.#pick([50, 1000, 100_000]),
        info: { kind, direct: !kind.startsWith('relay') },
      }),
    );
  }

  #losePath(): void {
    if (this.#paths.length === 0) return;
    const [path] = this.#paths.splice(Math.floor(this.#random() * this.#paths.length), 1);
    if (this.#random() < 0.5) this.pair.killPath(path!);
    else this.pair.blackhole(path!);
  }

  /** The responder of a stream can use it only once its OPEN has come. */
  #knows({ from, stream }: Written): boolean {
    const opener = stream % 2 === 1 ? this.pair.a : this.pair.b;
    return from === opener || from.received.get(stream)?.header !== undefined;
  }

  #ends(): [End, End] {
    return this.#random() < 0.5 ? [this.pair.a, this.pair.b] : [this.pair.b, this.pair.a];
  }

  #pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.#random() * items.length)] as T;
  }
}

describe('a session over paths that come and die', () => {
  it(`delivers every byte once and in order, for ${SEEDS} seeds`, () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const fuzz = new Fuzz(seed);
      for (let step = 0; step < STEPS; step += 1) fuzz.step();
      expect({ seed, wrong: fuzz.finish() }).toEqual({ seed, wrong: [] });
    }
  });
});
