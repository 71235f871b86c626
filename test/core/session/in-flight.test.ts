import { describe, expect, it } from 'vitest';
import { Pair, type End } from './pair.ts';

const MIB = 1024 * 1024;

/** A path through a socket that takes more than is good, and a stream that never runs out of bytes. */
function busyPair(rttMs: number, rate: number, streams = 1) {
  const pair = new Pair();
  const path = pair.addPath({ delayMs: rttMs / 2, rate, bufferBytes: 8 * MIB });
  const bulk = Array.from({ length: streams }, () => new Bulk(pair.a));
  const quiet = pair.a.open();
  const run = (ms: number): void => {
    for (const end = pair.now + ms; pair.now < end; pair.run(2)) {
      for (const stream of bulk) stream.feed(pair.b);
    }
  };
  /** Of what the link carries, over so long a time. */
  const share = (ms: number): number => {
    const received = (): number => bulk.reduce((sum, { id }) => sum + pair.b.of(id).bytes, 0);
    const before = received();
    run(ms);
    return (received() - before) / (rate * ms);
  };
  /** Until a single byte is there, in milliseconds. */
  const byteTakes = (): number => {
    const start = pair.now;
    const count = pair.b.of(quiet).bytes;
    pair.a.write(quiet, Buffer.of(1));
    while (pair.b.of(quiet).bytes === count) run(2);
    return pair.now - start;
  };
  return { pair, path, bulk, run, share, byteTakes };
}

class Bulk {
  readonly id: number;
  readonly #from: End;
  #fed = 0;

  constructor(from: End) {
    this.#from = from;
    this.id = from.open();
  }

  feed(to: End): void {
    const received = to.of(this.id);
    for (; this.#fed < received.bytes + AHEAD; this.#fed += CHUNK.length) this.#from.write(this.id, CHUNK);
    received.chunks.length = 0;
  }
}

const CHUNK = Buffer.alloc(256 * 1024);
/** More than is ever on its way. */
const AHEAD = 16 * MIB;

describe('what is in flight on a path', () => {
  it.each([
    { rttMs: 1, mbit: 100 },
    { rttMs: 20, mbit: 5 },
    { rttMs: 20, mbit: 50 },
    { rttMs: 100, mbit: 100 },
    { rttMs: 300, mbit: 50 },
  ])(
    'keeps $mbit Mbit/s over $rttMs ms busy, and lets a byte pass in a little more than half a round trip',
    ({ rttMs, mbit }) => {
      const { run, share, byteTakes } = busyPair(rttMs, mbit * 125);
      run(3000 + 20 * rttMs);
      expect(share(5000)).toBeGreaterThan(0.93);
      expect(byteTakes()).toBeLessThan(0.75 * rttMs + 70);
    },
  );

  it('lasts where nothing is read for a tenth of a second, again and again', () => {
    const { pair, path, run, share } = busyPair(20, 50 * 125);
    const stall = (): void => {
      pair.hold(path, 100);
      pair.at(pair.now + 400, stall);
    };
    run(2000);
    stall();
    run(8000);
    expect(share(5000)).toBeGreaterThan(0.95);
  });

  it('goes on where others fill a queue on the way, and empties its own when they have left', () => {
    const rate = 50 * 125;
    const { pair, path, run, share, byteTakes } = busyPair(20, rate);
    run(3000);
    pair.change(path, { delayMs: 110, rate: rate / 2 });
    run(25_000);
    expect(share(5000)).toBeGreaterThan(0.4);
    pair.change(path, { delayMs: 10, rate });
    run(25_000);
    expect(share(5000)).toBeGreaterThan(0.9);
    expect(byteTakes()).toBeLessThan(75);
  });

  it.each([1, 20])('loses nothing to one of a hundred readers that stands still, over %d ms', (rttMs) => {
    const { pair, bulk, run, share } = busyPair(rttMs, 100 * 125, 100);
    pair.b.stopped.add(bulk[0]!.id);
    run(4000);
    expect(share(4000)).toBeGreaterThan(0.95);
  });

  it('has an interactive stream wait for no round of a hundred others', () => {
    const { run, byteTakes } = busyPair(20, 50 * 125, 100);
    run(4000);
    for (let time = 0; time < 5; time += 1) {
      expect(byteTakes()).toBeLessThan(75);
      run(200);
    }
  });

  it('follows the rate of the path moved to, not what the relay still brings', () => {
    const pair = new Pair();
    pair.addPath({
      delayMs: 40,
      rate: 8000,
      bufferBytes: 8 * MIB,
      info: { kind: 'relay-h1', direct: false },
    });
    const bulk = new Bulk(pair.a);
    const run = (ms: number): void => {
      for (const end = pair.now + ms; pair.now < end; pair.run(2)) bulk.feed(pair.b);
    };
    run(3000);
    const direct = pair.addPath({ delayMs: 10, rate: 1000, bufferBytes: 8 * MIB });
    run(3000);
    const moved = pair.a.machine.stats.paths.find(({ path }) => path.id === direct);
    expect(moved).toMatchObject({ active: true });
    expect(moved!.rate).toBeLessThan(2 * 1000 * 1000);
  });
});
