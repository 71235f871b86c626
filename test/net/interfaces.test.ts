import { networkInterfaces } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Clock } from '../../src/net/clock.ts';
import { advertisedAddresses, hostAddresses, watchNetwork } from '../../src/net/interfaces.ts';
import type { HostAddress, NetworkChange } from '../../src/net/interfaces.ts';

/** Time that moves when told; one timer is enough here. */
class HandClock implements Clock {
  time = 0;
  #timer: { fn: () => void; at: number } | undefined;

  now(): number {
    return this.time;
  }

  setTimer(fn: () => void, ms: number): () => void {
    const timer = { fn, at: this.time + ms };
    this.#timer = timer;
    return () => {
      if (this.#timer === timer) this.#timer = undefined;
    };
  }

  pass(ms: number): void {
    this.time += ms;
    const timer = this.#timer;
    if (timer === undefined || timer.at > this.time) return;
    this.#timer = undefined;
    timer.fn();
  }
}

function watched(): {
  clock: HandClock;
  state: {
    addresses: HostAddress[];
    asleep: number;
    setBy: number;
    source: string | undefined;
    over6: string | undefined;
  };
  changes: NetworkChange[];
  stop: () => void;
} {
  const clock = new HandClock();
  const here = '192.168.1.2';
  const state = {
    addresses: [lan(here)],
    asleep: 0,
    setBy: 0,
    source: here as string | undefined,
    over6: undefined as string | undefined,
  };
  const changes: NetworkChange[] = [];
  const upClock = (): number => clock.time + state.asleep;
  const wallClock = (): number => upClock() + state.setBy;
  const stop = watchNetwork(
    {
      clock,
      everyMs: 1_000,
      addresses: () => state.addresses,
      sources: [() => Promise.resolve(state.source), () => Promise.resolve(state.over6)],
      upClock,
      wallClock,
    },
    (change) => changes.push(change),
  );
  return { clock, state, changes, stop };
}

const lan = (address: string): HostAddress => ({ address, family: 4, scope: 'private', interface: 'eth0' });

const over6 = (address: string): HostAddress => ({
  address,
  family: 6,
  scope: 'public',
  interface: 'eth0',
});

describe('the addresses that a peer is told', () => {
  const told = (addresses: HostAddress[], seen: string[] = []) =>
    advertisedAddresses(addresses, seen).map(({ address }) => address);

  it('are of IPv4, and of each IPv6 prefix the one that servers see', () => {
    const all = [lan('192.168.1.2'), over6('2001:db8::9'), over6('2001:db8::1'), over6('fd00::1')];
    expect(told(all)).toEqual(['192.168.1.2', '2001:db8::9', 'fd00::1']);
    expect(told(all, ['2001:db8::1'])).toEqual(['192.168.1.2', '2001:db8::1', 'fd00::1']);
  });

  it('begin with those that lead furthest, by turns of both families, however many tunnels there are', () => {
    const tunnels = Array.from({ length: 28 }, (_, n) => ({ ...lan(`10.8.${n}.1`), interface: `tun${n}` }));
    const all = [...tunnels, lan('192.168.1.2'), lan('192.168.7.2'), over6('2001:db8::9'), over6('fd00::1')];
    expect(told(all)).toHaveLength(7);
    expect(told(all).slice(0, 4)).toEqual(['192.168.1.2', '2001:db8::9', '192.168.7.2', 'fd00::1']);
  });

  it('are three of IPv6 at most', () => {
    expect(told(Array.from({ length: 9 }, (_, n) => over6(`2001:db8:${n}::1`)))).toHaveLength(3);
  });
});

describe('host addresses', () => {
  it('are of this host, and never loopback or link-local', () => {
    const all = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
    const outside = new Set(all.filter(({ internal }) => !internal).map(({ address }) => address));
    for (const { address, scope } of hostAddresses()) {
      expect(outside).toContain(address);
      expect(['private', 'shared', 'public']).toContain(scope);
    }
  });
});

describe('watching the network', () => {
  it('stays silent while nothing changes', () => {
    const { clock, changes } = watched();
    for (let second = 0; second < 60; second++) clock.pass(1_000);
    expect(changes).toEqual([]);
  });

  it('tells of an address that came, once', () => {
    const { clock, state, changes } = watched();
    state.addresses = [...state.addresses, lan('10.0.0.7')];
    clock.pass(1_000);
    clock.pass(1_000);
    expect(changes).toEqual(['addresses']);
  });

  it('does not mind the order', () => {
    const { clock, state, changes } = watched();
    state.addresses = [lan('10.0.0.7'), lan('192.168.1.2')];
    clock.pass(1_000);
    state.addresses = [lan('192.168.1.2'), lan('10.0.0.7')];
    clock.pass(1_000);
    expect(changes).toEqual(['addresses']);
  });

  it('tells of packets that leave by another address, and not of a moment without a route', async () => {
    const { clock, state, changes } = watched();
    for (const source of ['192.168.1.2', undefined, '192.168.1.2', '10.0.0.7', '10.0.0.7']) {
      state.source = source;
      clock.pass(1_000);
      await setImmediate();
    }
    expect(changes).toEqual(['route']);
  });

  it('tells the same of IPv6 where there is nothing else, and once where both families move', async () => {
    const { clock, state, changes } = watched();
    const moves = [
      [undefined, '2001:db8:1::2'],
      [undefined, undefined],
      [undefined, '2001:db8:2::2'],
      ['192.168.1.2', '2001:db8:2::2'],
      ['10.0.0.7', '2001:db8:3::2'],
    ];
    for (const [source, over6] of moves) {
      [state.source, state.over6] = [source, over6];
      clock.pass(1_000);
      await setImmediate();
    }
    expect(changes).toEqual(['route', 'route']);
  });

  it('tells once of an address that came and takes the route', async () => {
    const { clock, state, changes } = watched();
    clock.pass(1_000);
    await setImmediate();
    state.addresses = [...state.addresses, lan('10.0.0.7')];
    state.source = '10.0.0.7';
    for (let second = 0; second < 3; second++) {
      clock.pass(1_000);
      await setImmediate();
    }
    expect(changes).toEqual(['addresses']);
  });

  it('notices a sleep by what the computer’s time since its start is ahead', () => {
    const { clock, state, changes } = watched();
    state.asleep = 60_000;
    clock.pass(1_000);
    expect(changes).toEqual(['wake']);
  });

  it('notices a sleep after which the time of day was set back', () => {
    const { clock, state, changes } = watched();
    state.asleep = 60_000;
    state.setBy = -60_000;
    clock.pass(1_000);
    expect(changes).toEqual(['wake']);
  });

  it('takes a time of day that was set ahead for no sleep, and one that was set back for nothing', () => {
    const { clock, state, changes } = watched();
    for (const setBy of [3_600_000, 0]) {
      state.setBy = setBy;
      clock.pass(1_000);
      clock.pass(1_000);
    }
    expect(changes).toEqual(['clock']);
  });

  it('notices a sleep by its own timer coming late', () => {
    const { clock, changes } = watched();
    clock.pass(60_000);
    expect(changes).toEqual(['wake']);
  });

  it('ends when told', () => {
    const { clock, state, changes, stop } = watched();
    stop();
    state.addresses = [];
    clock.pass(1_000);
    expect(changes).toEqual([]);
  });
});
