import { afterEach, expect, it } from 'vitest';
import { Reporter, type EventFields } from '../../../src/cli/reporter.ts';
import { Progress } from '../../../peer/files/progress.ts';

const STOPPED_MS = 2_000;

class Listener extends Reporter {
  #heard: ((fields: EventFields) => void) | undefined;

  readonly heard: string[] = [];
  /** The last waiting, as it is told to people. */
  why: string | undefined;

  override event(event: string, fields: EventFields, words?: string): void {
    this.heard.push(event);
    if (event === 'waiting') this.why = words;
    this.#heard?.(fields);
  }

  next(): Promise<EventFields> {
    return new Promise((resolve) => (this.#heard = resolve));
  }
}

const reporter = new Listener();
let progress: Progress;
afterEach(() => {
  progress.stop();
});

/** As a process that is stopped, or gets no processor. */
function standStill(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STOPPED_MS);
}

it('the rate counts the time for which the process stood still', async () => {
  progress = new Progress(reporter, { id: 'a session', path: undefined }, 9_000_000);
  progress.add(1_000_000, true);
  standStill();
  const { rate, etaSeconds } = await reporter.next();
  expect(rate).toBeLessThanOrEqual(500_000);
  expect(etaSeconds).toBeGreaterThanOrEqual(16);
});

it('what was told before a standstill weighs the less the longer that was', async () => {
  progress = new Progress(reporter, { id: 'a session', path: undefined });
  progress.add(50_000_000, true);
  const before = Number((await reporter.next())['rate']);
  standStill();
  const { rate } = await reporter.next();
  expect(Number(rate)).toBeLessThan(before / 3);
});

it(
  'a sender says once that nothing is sent any more, and again after it went on',
  { timeout: 60_000 },
  async () => {
    const own = new Listener();
    const told = () => own.heard.filter((event) => event === 'waiting').length;
    progress = new Progress(own, { id: 'a session', path: undefined }, 1_000);
    for (const times of [1, 2]) {
      await expect.poll(told, { timeout: 20_000 }).toBe(times);
      const standing = own.heard.length;
      await expect.poll(() => own.heard.length, { timeout: 20_000 }).toBeGreaterThan(standing + 3);
      expect(told()).toBe(times);
      progress.add(100, true);
    }
  },
);

it(
  'a sender that stands still does not put it down to the other side, for it cannot know',
  { timeout: 60_000 },
  async () => {
    const own = new Listener();
    const unknown = {
      local: undefined,
      remote: undefined,
      technique: undefined,
      rttMs: undefined,
      reason: undefined,
    };
    const path = { kind: 'udp', direct: true, state: 'active', ...unknown } as const;
    progress = new Progress(own, { id: 'a session', path }, 1_000);
    await expect
      .poll(() => own.why, { timeout: 20_000 })
      .toMatch(/the network stands still, the other side is busy, or/);
  },
);

it('what is done without a byte is no standstill', { timeout: 60_000 }, async () => {
  const own = new Listener();
  progress = new Progress(own, { id: 'a session', path: undefined }, 1_000);
  for (let tells = 0; tells < 12; tells++) {
    progress.wentOn();
    await own.next();
  }
  expect(own.heard.filter((event) => event === 'waiting')).toEqual([]);
});
