import { describe, expect, it } from 'vitest';
import type { Host } from './host.ts';
import type { LinkOptions } from './link.ts';
import { World } from './network.ts';

const COUNT = 2_000;

/** Sends numbered datagrams, one per millisecond, over one impaired link; their numbers and times of arrival. */
function sendOver(link: LinkOptions, seed = 1): { numbers: number[]; delays: number[]; world: World } {
  const { world, from, to } = pair(link, seed);
  const numbers: number[] = [];
  const delays: number[] = [];
  const receiver = to.udp(9);
  receiver.onDatagram = (bytes) => {
    const number = bytes[0]! * 256 + bytes[1]!;
    numbers.push(number);
    delays.push(world.now - number);
  };
  const sender = from.udp();
  for (let number = 0; number < COUNT; number++) {
    world.run(number);
    sender.send(new Uint8Array([number >> 8, number & 255]), receiver.local);
  }
  world.runFor(1_000);
  return { numbers, delays, world };
}

function pair(link: LinkOptions, seed = 1): { world: World; from: Host; to: Host } {
  const world = new World({ seed });
  const segment = world.internet;
  const from = world.host({ name: 'from', segment, addresses: ['198.51.100.1'], link });
  const to = world.host({ name: 'to', segment, addresses: ['198.51.100.2'] });
  return { world, from, to };
}

describe('link', () => {
  it('delays every packet by the same time', () => {
    const { numbers, delays } = sendOver({ delayMs: 20 });
    expect(numbers).toHaveLength(COUNT);
    expect(new Set(delays)).toEqual(new Set([20]));
  });

  it('keeps order under jitter, within delay and delay + jitter', () => {
    const { numbers, delays } = sendOver({ delayMs: 20, jitterMs: 15 });
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(20);
    expect(Math.max(...delays)).toBeLessThanOrEqual(35);
    expect(new Set(delays).size).toBeGreaterThan(100);
  });

  it('loses, duplicates and reorders the shares asked for', () => {
    expect(sendOver({ lossPercent: 10 }).numbers.length / COUNT).toBeCloseTo(0.9, 1);
    expect(sendOver({ duplicatePercent: 10 }).numbers.length / COUNT).toBeCloseTo(1.1, 1);
    const { numbers } = sendOver({ reorderPercent: 10 });
    const late = numbers.filter((number, index) => index > 0 && number < numbers[index - 1]!);
    expect(numbers).toHaveLength(COUNT);
    expect(late.length).toBeGreaterThan(COUNT * 0.03);
  });

  it('drops everything while cut, and says so', () => {
    const { world, from, to } = pair({});
    let arrived = 0;
    const receiver = to.udp(9);
    receiver.onDatagram = () => arrived++;
    from.interfaces[0]!.link.cut = true;
    from.udp().send(new Uint8Array(1), receiver.local);
    world.runFor(10);
    expect(arrived).toBe(0);
    expect(world.drops.cut).toBe(1);
  });

  it('replays packet by packet from its seed', () => {
    const faults = { delayMs: 20, jitterMs: 9, lossPercent: 5, reorderPercent: 5, duplicatePercent: 5 };
    const print = (seed: number): number => sendOver(faults, seed).world.fingerprint;
    expect(print(1)).toBe(print(1));
    expect(print(1)).not.toBe(print(2));
  });
});

describe('hops', () => {
  it('let a packet pass whose TTL exceeds the routers on its way, and no other', () => {
    const { world, from, to } = pair({});
    const arrived: number[] = [];
    const receiver = to.udp(9);
    receiver.onDatagram = (bytes) => arrived.push(bytes[0]!);
    const sender = from.udp();
    for (const ttl of [1, 2, 3, 64]) sender.send(new Uint8Array([ttl]), receiver.local, ttl);
    world.runFor(10);
    expect(arrived).toEqual([3, 64]);
    expect(world.drops.ttl).toBe(2);
  });
});
