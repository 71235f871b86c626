import { describe, expect, it } from 'vitest';
import type { Instant, Machine } from '../../src/core/machine.ts';
import { systemClock, type Clock } from '../../src/net/clock.ts';
import { Driver } from '../../src/net/driver.ts';
import { uncaughtMessages } from '../uncaught.ts';

/** Gives out what it was handed as one batch, and the instants at which its time was up. */
class Batches implements Machine<string, string> {
  deadline: Instant | undefined;
  #handed: string[] = [];
  #outputs: string[] = [];

  handle(input: string): void {
    this.#handed.push(input);
  }

  handleTimeout(now: Instant): void {
    this.deadline = undefined;
    this.#outputs.push(`timeout at ${now}`);
  }

  poll(): string | undefined {
    if (this.#handed.length > 0) this.#outputs.push(this.#handed.splice(0).join(' '));
    return this.#outputs.shift();
  }
}

function driven(clock: Clock = systemClock) {
  const machine = new Batches();
  const outputs: string[] = [];
  const driver = new Driver<string, string>(machine, clock, (output) => outputs.push(output));
  return { machine, outputs, driver };
}

describe('a driver', () => {
  it('leaves to a timer only what is due later', () => {
    const timers: number[] = [];
    let now = 1_000;
    const clock: Clock = {
      now: () => now,
      setTimer: (_fn, ms) => {
        timers.push(ms);
        return () => {};
      },
    };
    const { machine, outputs, driver } = driven(clock);
    machine.deadline = 1_000;
    driver.handle('due');
    expect(outputs).toEqual(['due', 'timeout at 1000']);
    machine.deadline = 1_005;
    driver.handle('early');
    expect(outputs).toEqual(['due', 'timeout at 1000', 'early']);
    expect(timers).toEqual([5]);
    now = 1_010; // late, but what came in meanwhile is read first
    driver.handle('late');
    expect(outputs).toEqual(['due', 'timeout at 1000', 'early', 'late']);
  });

  it('waits with a batch for what comes of the promises that are being settled', async () => {
    const { outputs, driver } = driven();
    const use = async (name: string, opening: Promise<void>): Promise<void> => {
      await opening;
      driver.handleSoon(name);
    };
    const open = async (): Promise<void> => driver.handleAfterwards('opened');
    const connected = Promise.resolve().then(() => driver.handleAfterwards('connected'));
    await use('used', connected.then(open));
    expect(outputs).toEqual([]);
    await new Promise(setImmediate);
    expect(outputs).toEqual(['connected opened used']);
  });

  describe('that calls back what throws', () => {
    const uncaught = uncaughtMessages();

    it('performs what comes after it, and wakes when it would have', async () => {
      const machine = new Batches();
      const outputs: string[] = [];
      const driver = new Driver<string, string>(machine, systemClock, (output) => {
        outputs.push(output);
        if (output !== 'first') return;
        driver.handle('second');
        throw new Error(output);
      });
      machine.deadline = systemClock.now() + 20;
      const performed = new Promise<void>((resolve) => {
        machine.handleTimeout = () => resolve();
      });
      driver.handle('first');
      await performed;
      driver.stop();
      expect(outputs).toEqual(['first', 'second']);
      expect(uncaught).toEqual(new Set(['first']));
    });
  });
});
