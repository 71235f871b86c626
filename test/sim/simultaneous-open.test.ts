import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Host } from './host.ts';
import type { NatOverrides } from './nat-behavior.ts';
import { twoLans, type NatName, type TwoLans } from './presets.ts';
import type { TcpConnection } from './tcp-connection.ts';

/**
 * TCP hole punching (RFC 5128 §3.4) on the simulated NATs against what was measured on emulated ones with the same
 * delays: 20 ms one way per NAT, so 40 ms between the peers one way. Times count from T0 to the moment when the later
 * of the two ends holds the other's first line.
 */
const PORT = 5_000;
const SLOT_MS = 250;
const PATIENCE_MS = 1_000;
const LINE = new TextEncoder().encode('hello\n');

type Stray = 'drop' | 'rst';
const strays = (policy: Stray): NatOverrides => ({ tcp: { strays: policy } });
const refuses = (policy: Stray): NatOverrides => ({ tcp: { strays: policy, crossingSyns: false } });

interface Prepared extends TwoLans {
  readonly mappedA: Endpoint;
  readonly mappedB: Endpoint;
  readonly t0: number;
}

/** Both hosts hold a TCP connection to the server from `PORT`, and know its mapping. */
function prepare(natA: NatOverrides, natB: NatOverrides, name: NatName = 'ei/apd'): Prepared {
  const lans = twoLans({ a: name, b: name, natA, natB, delayMs: 20 });
  const mapped = [lans.a, lans.b].map((host, index) => hold(lans, host, 3478 + index));
  return { ...lans, mappedA: mapped[0]!, mappedB: mapped[1]!, t0: lans.world.now };
}

function hold({ world, server }: TwoLans, host: Host, serverPort: number): Endpoint {
  let mapped: Endpoint | undefined;
  server.tcp.listen(serverPort).onConnection = ({ remote }) => (mapped = remote);
  const held = host.tcp.connect({ remote: { address: server.address, port: serverPort }, localPort: PORT });
  world.run(() => held.connected && mapped !== undefined);
  return mapped!;
}

/** Dials at `t0 + skew`, then again in each shared slot after a refusal or after patience has run out. */
class Dialer {
  attempts = 0;
  /** When the other end's line was here; `undefined` until then. */
  doneAt: number | undefined;
  readonly #lans: Prepared;
  readonly #host: Host;
  readonly #remote: Endpoint;

  constructor(lans: Prepared, host: Host, remote: Endpoint, skew: number) {
    this.#lans = lans;
    this.#host = host;
    this.#remote = remote;
    lans.world.clock.at(lans.t0 + skew, () => this.#dial());
  }

  #dial(): void {
    const { clock } = this.#lans.world;
    const dial = this.#host.tcp.connect({ remote: this.#remote, localPort: PORT });
    const patience = clock.after(PATIENCE_MS, () => this.#again(dial));
    this.attempts++;
    this.#greet(dial, () => patience.cancel());
    dial.onError = () => {
      patience.cancel();
      this.#again(dial);
    };
  }

  #greet(dial: TcpConnection, onConnect: () => void): void {
    dial.onConnect = () => {
      onConnect();
      dial.write(LINE);
    };
    dial.onData = () => (this.doneAt ??= this.#lans.world.now);
  }

  #again(dial: TcpConnection): void {
    dial.destroy();
    const { world, t0 } = this.#lans;
    const slot = Math.floor((world.now - t0) / SLOT_MS) + 1;
    world.clock.at(t0 + slot * SLOT_MS, () => this.#dial());
  }
}

/** Milliseconds from T0, b late by `skew`; `undefined` when 8 s did not suffice. */
function simultaneousOpen(
  natA: NatOverrides,
  natB: NatOverrides,
  skew: number,
  name?: NatName,
): number | undefined {
  const lans = prepare(natA, natB, name);
  const a = new Dialer(lans, lans.a, lans.mappedB, 0);
  const b = new Dialer(lans, lans.b, lans.mappedA, skew);
  const isDone = lans.world.run(() => a.doneAt !== undefined && b.doneAt !== undefined, 8_000);
  return isDone ? Math.max(a.doneAt!, b.doneAt!) - lans.t0 : undefined;
}

describe('simultaneous open takes as long as measured', () => {
  /** From the offer to T0 in the measurements. */
  const OFFER_TO_T0 = 92;
  const SKEWS = [0, 10, 30, 60, 100];
  it.each([
    ['both drop strays', strays('drop'), strays('drop'), [214, 223, 244, 313, 354]],
    ['both answer strays by RST', strays('rst'), strays('rst'), [214, 223, 242, 463, 463]],
    ['RST × drop', strays('rst'), strays('drop'), [214, 223, 243, 314, 354]],
    ['refuses crossing SYNs (drop) × drop', refuses('drop'), strays('drop'), [254, 254, 254, 1504, 1504]],
    ['refuses crossing SYNs (RST) × drop', refuses('rst'), strays('drop'), [253, 253, 253, 1504, 1504]],
    ['refuses crossing SYNs (RST) × RST', refuses('rst'), strays('rst'), [255, 255, 255, 504, 504]],
  ] as const)('%s', (_, natA, natB, measured) => {
    const times = SKEWS.map((skew) => simultaneousOpen(natA, natB, skew));
    for (const [index, time] of times.entries()) {
      expect(Math.abs(OFFER_TO_T0 + (time ?? Infinity) - measured[index]!)).toBeLessThan(6);
    }
  });

  it.each([
    ['drop', 'drop'],
    ['drop', 'rst'],
    ['rst', 'rst'],
  ] as const)('never succeeds where both refuse crossing SYNs (%s, %s)', (policyA, policyB) => {
    for (const skew of SKEWS) {
      expect(simultaneousOpen(refuses(policyA), refuses(policyB), skew)).toBeUndefined();
    }
  });

  it('connects on the first SYN through NATs that drop strays, whoever is late', () => {
    for (const skew of [0, 20, 100, 200, 300]) {
      const lans = prepare(strays('drop'), strays('drop'));
      const a = new Dialer(lans, lans.a, lans.mappedB, 0);
      const b = new Dialer(lans, lans.b, lans.mappedA, skew);
      lans.world.run(() => a.doneAt !== undefined && b.doneAt !== undefined, 8_000);
      expect([a.attempts, b.attempts]).toEqual([1, 1]);
    }
  });

  it('fails through routers with an open INPUT chain, unless the SYNs cross', () => {
    const accept: NatOverrides = { tcp: { strays: 'accept' } };
    expect(simultaneousOpen(accept, accept, 0)).toBe(120);
    expect(simultaneousOpen(accept, accept, 60)).toBeUndefined();
  });

  it('works behind one NAT that hairpins with the external source, and not with the internal one', () => {
    const behindOne = (hairpin: 'external-source' | 'internal-source'): number | undefined =>
      simultaneousOpen({ hairpin }, {}, 0, 'same-nat');
    expect(behindOne('external-source')).toBe(0);
    expect(behindOne('internal-source')).toBeUndefined();
  });

  it('a flow that saw a RST is forgotten after 10 s of silence, even once it is established', () => {
    const survives = (skew: number): boolean => {
      const lans = prepare(strays('rst'), strays('rst'));
      const dials: TcpConnection[] = [];
      const dial = (host: Host, remote: Endpoint): number =>
        dials.push(host.tcp.connect({ remote, localPort: PORT }));
      lans.world.clock.at(lans.t0, () => dial(lans.a, lans.mappedB));
      lans.world.clock.at(lans.t0 + skew, () => dial(lans.b, lans.mappedA));
      lans.world.run(lans.t0 + SLOT_MS);
      if (dials.every(({ connected }) => !connected)) {
        dials.length = 0;
        dial(lans.a, lans.mappedB);
        dial(lans.b, lans.mappedA);
      }
      lans.world.runFor(15_000);
      expect(dials.map(({ connected }) => connected)).toEqual([true, true]);
      let arrived = false;
      dials[1]!.onData = () => (arrived = true);
      dials[0]!.write(LINE);
      lans.world.runFor(5_000);
      return arrived;
    };
    expect(survives(0)).toBe(true);
    expect(survives(60)).toBe(false);
  });
});

/** The listener connects once at T0, destroys the socket and listens; the other dials 150 ms after T0. */
function connectThenListen(listenerNat: NatOverrides, dialerNat: NatOverrides): number | undefined {
  const { world, a, b, mappedA, mappedB, t0 } = prepare(listenerNat, dialerNat);
  const doneAt: number[] = [];
  const greet = (connection: TcpConnection): void => {
    connection.onData = () => doneAt.push(world.now);
    connection.write(LINE);
  };
  const opener = a.tcp.connect({ remote: mappedB, localPort: PORT });
  world.clock.at(t0 + 100, () => {
    opener.destroy();
    a.tcp.listen(PORT).onConnection = greet;
  });
  world.clock.at(t0 + 150, () => greet(b.tcp.connect({ remote: mappedA, localPort: PORT })));
  return world.run(() => doneAt.length === 2, 4_000) ? doneAt[1]! - t0 : undefined;
}

describe('connect-then-listen', () => {
  const OK = 310;
  it.each([
    ['refuses', 'refuses', refuses('drop'), refuses('drop'), undefined],
    ['refuses', 'drop', refuses('drop'), strays('drop'), undefined],
    ['drop', 'refuses', strays('drop'), refuses('drop'), OK],
    ['refuses', 'RST', refuses('drop'), strays('rst'), OK],
    ['RST', 'refuses', strays('rst'), refuses('drop'), OK],
    ['RST', 'RST', strays('rst'), strays('rst'), OK],
    ['drop', 'drop', strays('drop'), strays('drop'), OK],
  ] as const)('listener behind %s, dialler behind %s', (_, __, listenerNat, dialerNat, expected) => {
    expect(connectThenListen(listenerNat, dialerNat)).toBe(expected);
  });
});
