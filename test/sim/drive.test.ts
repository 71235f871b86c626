import { AssertionError } from 'node:assert';
import { describe, expect, it } from 'vitest';
import type { Instant, Machine } from '../../src/core/machine.ts';
import { drive } from './drive.ts';
import { World } from './network.ts';

/** Says `tick` every 10 ms, `echo` what it is told, and writes down when it is told the time. */
class Metronome implements Machine<string, string> {
  deadline: Instant | undefined = 10;
  readonly told: Instant[] = [];
  readonly #outputs: string[] = [];

  handle(input: string, now: Instant): void {
    this.told.push(now);
    this.#outputs.push(`echo ${input}`);
  }

  handleTimeout(now: Instant): void {
    this.told.push(now);
    this.deadline = now + 10;
    this.#outputs.push('tick');
  }

  poll(): string | undefined {
    return this.#outputs.shift();
  }
}

describe('drive', () => {
  it('calls a machine at its deadlines and hands out what it says', () => {
    const world = new World();
    const machine = new Metronome();
    const said: [Instant, string][] = [];
    const driven = drive(world.clock, machine, (output) => said.push([world.now, output]));
    world.run(25);
    driven.handle('hello');
    world.run(35);
    expect(said).toEqual([
      [10, 'tick'],
      [20, 'tick'],
      [25, 'echo hello'],
      [30, 'tick'],
    ]);
  });

  it('tells a machine the time of its host', () => {
    const world = new World();
    const addresses = ['198.51.100.1'];
    const host = world.host({ name: 'host', clockOffsetMs: 5_000, segment: world.internet, addresses });
    const machine = new Metronome();
    machine.deadline = 5_007;
    drive(host, machine, () => {});
    world.run(20);
    expect(machine.told).toEqual([5_007, 5_017]);
  });

  it('keeps input that an output causes until the machine is drained', () => {
    const world = new World();
    const machine = new Metronome();
    const said: string[] = [];
    const driven = drive(world.clock, machine, (output) => {
      if (output === 'tick' && said.length === 0) {
        driven.handle('one');
        driven.handle('two');
      }
      said.push(output);
    });
    world.run(10);
    expect(said).toEqual(['tick', 'echo one', 'echo two']);
  });

  it('hands nothing in or out once stopped', () => {
    const world = new World();
    const machine = new Metronome();
    const said: string[] = [];
    const driven = drive(world.clock, machine, (output) => said.push(output));
    driven.stop();
    driven.handle('late');
    world.run(100);
    expect(said).toEqual([]);
    expect(machine.told).toEqual([]);
  });

  it('fails loudly on a machine whose deadline stands still', () => {
    const world = new World();
    const stuck: Machine<never, never> = {
      deadline: 1,
      handle: () => {},
      handleTimeout: () => {},
      poll: () => undefined,
    };
    drive(world.clock, stuck, () => {});
    expect(() => world.run(10)).toThrow(AssertionError);
  });
});
