import { AssertionError } from 'node:assert';
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { World } from './network.ts';
import { twoLans } from './presets.ts';

const BYTE = new Uint8Array(1);

describe('host', () => {
  it('answers from the address that a socket is bound to, or from its first', () => {
    const world = new World();
    const server = world.server(2);
    const client = world.host({ name: 'client', segment: world.internet, addresses: ['198.51.100.1'] });
    const second = { address: server.addresses[1]!, port: 9 };
    const froms: Endpoint[] = [];
    const ask = client.udp();
    ask.onDatagram = (_, from) => froms.push(from);
    for (const address of [second.address, undefined]) {
      const socket = server.udp(9, address);
      socket.onDatagram = (bytes, from) => socket.send(bytes, from);
      ask.send(BYTE, second);
      world.runFor(10);
      socket.close();
    }
    expect(froms).toEqual([second, { address: server.addresses[0], port: 9 }]);
  });

  it('refuses a UDP port that is taken, and gives it out again after close', () => {
    const host = new World().server();
    const socket = host.udp(9);
    expect(() => host.udp(9)).toThrow(AssertionError);
    socket.close();
    expect(host.udp(9).port).toBe(9);
  });

  it('roams: its sockets live on under the address of the new network, the old one is silent', () => {
    const { world, a, server } = twoLans({ a: 'ei/apd', b: 'ei/apd' });
    const froms: Endpoint[] = [];
    const sink = server.udp(9);
    sink.onDatagram = (_, from) => froms.push(from);
    const socket = a.udp(5_000);
    socket.send(BYTE, sink.local);
    world.runFor(10);
    a.detach(a.interfaces[0]!);
    socket.send(BYTE, sink.local);
    world.runFor(10);
    a.attach(world.internet, ['198.51.100.77']);
    socket.send(BYTE, sink.local);
    for (const from of froms) sink.send(BYTE, from);
    world.runFor(10);
    expect(froms.map(({ address }) => address)).toEqual(['198.51.100.10', '198.51.100.77']);
    expect(world.drops['no-route']).toBe(1);
  });

  it('has a clock of its own', () => {
    const { world, a, b } = twoLans({ a: 'open', b: 'open', clockOffsetA: 1_000, clockOffsetB: -50 });
    world.run(100);
    expect([a.now, b.now]).toEqual([1_100, 50]);
    let ranAt = 0;
    b.at(60, () => (ranAt = world.now));
    world.runFor(100);
    expect(ranAt).toBe(110);
  });
});

describe('run', () => {
  it('stops at a time, at a predicate, or where nothing is left to happen', () => {
    const world = new World();
    let ticks = 0;
    const tick = (): void => {
      ticks++;
      world.clock.after(10, tick);
    };
    world.clock.after(10, tick);
    expect(world.run(35)).toBe(true);
    expect([world.now, ticks]).toEqual([35, 3]);
    expect(world.run(() => ticks === 5)).toBe(true);
    expect(world.now).toBe(50);
    expect(world.run(() => false, 1_000)).toBe(false);
    expect(new World().run(() => false)).toBe(false);
  });
});
