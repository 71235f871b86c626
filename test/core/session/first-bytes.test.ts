import { describe, expect, it } from 'vitest';
import { concat } from '../../../src/core/bytes.ts';
import {
  FIRST_BYTES,
  FirstBytes,
  type FirstBytesInput,
  type FirstBytesOutput,
} from '../../../src/core/session/first-bytes.ts';
import { VirtualClock } from '../../sim/clock.ts';
import { drive, type Driven } from '../../sim/drive.ts';
import { Random } from '../../sim/random.ts';

interface End {
  readonly machine: FirstBytes;
  readonly driven: Driven<FirstBytesInput>;
  /** What it handed over, joined. */
  received: Uint8Array;
  /** Messages that it sent, lost ones too. */
  sent: number;
}

interface Conditions {
  readonly lossPercent?: number;
  readonly seed?: number;
  /** Called with each end's bytes as they come. */
  readonly onBytes?: (end: 'near' | 'far', ends: Record<'near' | 'far', End>) => void;
}

const DELAY_MS = 40;
const REPEAT_MS = 120;

/** Two ends with a line of `DELAY_MS` between them that loses what it is told to. */
function lineBetween({ lossPercent = 0, seed = 1, onBytes }: Conditions) {
  const clock = new VirtualClock();
  const random = new Random(seed);
  const ends = {} as Record<'near' | 'far', End>;
  const make = (name: 'near' | 'far', other: 'near' | 'far') => {
    const machine = new FirstBytes(REPEAT_MS);
    const onOutput = (output: FirstBytesOutput) => {
      const end = ends[name];
      if (output.type === 'bytes') {
        end.received = concat(end.received, output.bytes);
        onBytes?.(name, ends);
        return;
      }
      end.sent += 1;
      if (random.percent(lossPercent)) return;
      const { bytes } = output;
      clock.after(DELAY_MS, () => ends[other].driven.handle({ type: 'message', bytes }));
    };
    ends[name] = { machine, driven: drive(clock, machine, onOutput), received: new Uint8Array(0), sent: 0 };
  };
  make('near', 'far');
  make('far', 'near');
  return { clock, ...ends };
}

function bytesOf(length: number, first = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (first + index) % 251);
}

describe('the first bytes of a path', () => {
  it('cost one message and its acknowledgement where nothing is lost', () => {
    const { clock, near, far } = lineBetween({});
    near.driven.handle({ type: 'write', bytes: bytesOf(400) });
    while (clock.step());
    expect(far.received).toEqual(bytesOf(400));
    expect([near.sent, far.sent]).toEqual([1, 1]);
    expect(near.machine.delivered).toBe(true);
  });

  it('take the acknowledgement along with an answer that is given at once', () => {
    const { clock, near, far } = lineBetween({
      onBytes: (end, ends) => {
        if (end === 'far') ends.far.driven.handle({ type: 'write', bytes: bytesOf(300, 7) });
      },
    });
    near.driven.handle({ type: 'write', bytes: bytesOf(400) });
    while (clock.step());
    expect(near.received).toEqual(bytesOf(300, 7));
    expect([near.sent, far.sent]).toEqual([2, 1]); // the second acknowledges the answer
  });

  it('are repeated soon after the other end first shows itself without having had them', () => {
    const [near, far] = [new FirstBytes(REPEAT_MS), new FirstBytes(REPEAT_MS)];
    near.handle({ type: 'write', bytes: bytesOf(400) }, 0); // to an end that isn't there yet
    expect(near.deadline).toBe(REPEAT_MS);
    far.handle({ type: 'write', bytes: bytesOf(300) }, 5);
    const said = far.poll()!;
    near.handle({ type: 'message', bytes: said.bytes }, 10);
    while (near.poll());
    near.handleTimeout(10 + REPEAT_MS / 4);
    for (let repeat = near.poll(); repeat; repeat = near.poll()) {
      if (repeat.type === 'send') far.handle({ type: 'message', bytes: repeat.bytes }, 50);
    }
    expect(far.poll()).toEqual({ type: 'bytes', bytes: bytesOf(400) });
  });

  it('pass four flights within two seconds nearly always where half of the packets are lost', () => {
    const took: number[] = [];
    for (let seed = 0; seed < 200; seed++) {
      const line = lineBetween({
        lossPercent: 50,
        seed,
        onBytes: (end, ends) => {
          const flights = (ends.near.received.length + ends.far.received.length) / 300;
          if (flights < 4) ends[end].driven.handle({ type: 'write', bytes: bytesOf(300) });
          else took.push(line.clock.now);
        },
      });
      line.near.driven.handle({ type: 'write', bytes: bytesOf(300) });
      while (line.clock.step());
    }
    took.sort((a, b) => a - b);
    expect(took).toHaveLength(200);
    expect(took[100]).toBeLessThan(1_000);
    expect(took[190]).toBeLessThan(2_000);
  });

  it('arrive in order and once, as many as there is room for', () => {
    const { clock, near, far } = lineBetween({ lossPercent: 40, seed: 5 });
    const all = bytesOf(FIRST_BYTES);
    for (let at = 0; at < FIRST_BYTES; at += 1_000) {
      near.driven.handle({ type: 'write', bytes: all.subarray(at, Math.min(FIRST_BYTES, at + 1_000)) });
    }
    expect(near.machine.room).toBe(0);
    while (clock.step());
    expect(far.received).toEqual(all);
    expect([near.machine.delivered, far.machine.complete, near.machine.complete]).toEqual([
      true,
      true,
      false,
    ]);
  });

  it('are repeated ever less often while nobody answers', () => {
    const { clock, near } = lineBetween({ lossPercent: 100 });
    near.driven.handle({ type: 'write', bytes: bytesOf(100) });
    while (clock.next !== undefined && clock.next <= 10_000) clock.step();
    expect(near.sent).toBeGreaterThan(15);
    expect(near.sent).toBeLessThan(30);
    expect(near.machine.delivered).toBe(false);
  });

  it('do not come to harm by messages that make no sense', () => {
    const { near } = lineBetween({});
    near.driven.handle({ type: 'write', bytes: bytesOf(10) });
    const nonsense = [
      [],
      [0x80],
      [0, 0, 1, 0, 0, 9],
      [0x80, 0xff, 0xff, 0, 0],
      [0x80, 0, 0, 0xff, 0xff, 1],
      [0x80, 0, 0, 0, 1, 1],
      [0x80, 0, 0, 0, 0, ...bytesOf(FIRST_BYTES + 1)],
    ];
    for (const bytes of nonsense) near.driven.handle({ type: 'message', bytes: Uint8Array.from(bytes) });
    expect(near.received).toHaveLength(0);
    expect(near.machine.delivered).toBe(false);
  });
});
