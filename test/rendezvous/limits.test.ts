import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Identity } from '../../src/core/identity.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { Front } from '../../src/net/front.ts';
import type { SignalConnection } from '../../src/net/signal.ts';
import { Departures } from '../../rendezvous/departures.ts';
import { Registrations, registrationOf, type Registration } from '../../rendezvous/registrations.ts';
import { selfSignedTls, TestDeployment } from './deployment.ts';
import { bytes, RegistryWorld, TestNode } from './harness.ts';
import { stoppablePipe } from './stoppable-pipe.ts';

const limit = expect.objectContaining({ code: 'LIMIT' });

function registration(n: number, id = n, name?: string): Registration {
  const [nonce, boot] = [bytes('nonce', 32), bytes('boot', 16)];
  const publicKey = bytes(`id ${id}`, 32);
  const instance = bytes(`instance ${n}`, 16);
  const hello = {
    t: 'hello' as const,
    version: 1,
    id: publicKey,
    role: name === undefined ? ('dial' as const) : ('listen' as const),
    name,
    nonce,
    boot,
    instance,
  };
  return registrationOf(hello, bytes('secret', 16), n, bytes('stun', 32), 0);
}

describe('registrations', () => {
  it(`are ${LIMITS.registrations} at most, and one that is there may come back`, () => {
    const registrations = new Registrations();
    for (let n = 0; n < LIMITS.registrations; n++) registrations.add(registration(n));
    expect(() => registrations.check(registration(LIMITS.registrations), 0)).toThrow(limit);
    expect(() => registrations.check(registration(7), 0)).not.toThrow();
  });

  it(`are ${LIMITS.instancesPerPeer} of one peer at most`, () => {
    const registrations = new Registrations();
    for (let n = 0; n < LIMITS.instancesPerPeer; n++) registrations.add(registration(n, 0));
    const oneMore = () => registrations.check(registration(LIMITS.instancesPerPeer, 0), 0);
    expect(oneMore).toThrow(limit);
    expect(oneMore).toThrow(/processes are registered with this key/);
    expect(() => registrations.check(registration(LIMITS.instancesPerPeer, 1), 0)).not.toThrow();
  });
});

describe('names', () => {
  it(`are reserved for the last ${LIMITS.reservedNames} listeners that left`, () => {
    const registrations = new Registrations();
    const named = (n: number) => registration(n, n, `name-${n}`);
    registrations.add(named(0));
    for (let n = 1; n <= LIMITS.reservedNames + 1; n++) {
      registrations.add(named(n));
      registrations.remove(named(n), 0);
    }
    const holder = (n: number) => registrations.nameHolder(`name-${n}`, 0);
    expect(holder(0)).toBe(named(0).id);
    expect(holder(1)).toBeUndefined();
    expect(holder(2)).toBe(named(2).id);
    expect(holder(LIMITS.reservedNames + 1)).toBe(named(LIMITS.reservedNames + 1).id);
  });
});

describe('departures', () => {
  it(`are remembered of the last ${LIMITS.departures} that had contacts, and of ${LIMITS.keptDepartures} what was passed on to them`, () => {
    const departures = new Departures();
    const bob = registration(0);
    for (let n = 1; n <= LIMITS.departures + 1; n++) {
      const other = registration(n);
      departures.introduce(other, bob);
      other.recent.add({ t: 'pong', sent: 0, time: 0 }, 0);
      departures.leave(other, true, 0);
    }
    const last = LIMITS.departures + 1;
    const kept = (n: number) => departures.keptOf(registration(n))?.recent.since(0);
    expect(kept(last - LIMITS.keptDepartures)).toBeUndefined();
    expect(kept(last - LIMITS.keptDepartures + 1)).toHaveLength(1);
    expect(kept(last)).toHaveLength(1);
    const told = departures.due(LIMITS.resumeTimeoutMs).map(({ departed }) => departed);
    expect(told).toHaveLength(LIMITS.departures);
    expect(told[0]!.key).toBe(registration(2).key);
    expect(told[0]).not.toHaveProperty('recent');
    expect(kept(last)).toBeUndefined();
    expect(departures.pending).toBe(false);
  });
});

describe('introductions', () => {
  it('remember the last 256 contacts of an instance, for the day it is gone', () => {
    const world = new RegistryWorld();
    const alice = new TestNode(world, 'alice').register();
    const others = Array.from({ length: LIMITS.contactsPerInstance + 1 }, (_, n) => {
      world.advance(100); // a look-up costs its time
      return new TestNode(world, `other ${n}`).register();
    });
    for (const [n, other] of others.entries()) {
      world.advance(100);
      alice.offer(other, `session ${n}`);
    }
    expect(others.every((other) => other.received('offer').length === 1)).toBe(true);
    alice.send({ t: 'bye' });
    const told = others.map((other) => other.received('gone').length);
    expect(told).toEqual([0, ...Array.from({ length: LIMITS.contactsPerInstance }, () => 1)]);
  });

  /** Three hundred strangers, each with one offer, all from one address. */
  const crowd = (world: RegistryWorld, to: TestNode, address?: string): void => {
    for (let n = 0; n < 300; n++)
      new TestNode(world, `eve ${n}`, { role: 'dial', address }).register().offer(to);
  };

  it('leave room for a stranger at one address, however many there are at another', () => {
    const world = new RegistryWorld();
    const bob = new TestNode(world, 'bob').register();
    crowd(world, bob, '198.51.100.1');
    expect(bob.received('offer')).toHaveLength(64);
    const alice = new TestNode(world, 'alice', { address: '203.0.113.9' }).register();
    alice.offer(bob);
    expect(alice.errors).toEqual([]);
  });

  it('leave room for those whom the callee has answered or called itself, however many strangers there are', () => {
    const world = new RegistryWorld();
    const bob = new TestNode(world, 'bob').register();
    const [alice, carol] = [new TestNode(world, 'alice').register(), new TestNode(world, 'carol').register()];
    bob.answer(alice, alice.offer(bob));
    bob.offer(carol);
    for (const host of [1, 2, 3]) crowd(world, bob, `198.51.100.${host}`);
    bob.reconnect();
    bob.disconnect();
    bob.reconnect();
    for (const friend of [alice, carol]) friend.offer(bob, 'again');
    expect([...alice.errors, ...carol.errors]).toEqual([]);
    const eve = new TestNode(world, 'eve', { address: '198.51.100.4' }).register();
    eve.answer(bob, bytes('session', 16));
    eve.offer(bob);
    expect(eve.errors).toEqual(['RATE_LIMITED']);
  });

  it('leave room for whom the callee knows, however many at another address it has answered', () => {
    const world = new RegistryWorld();
    const bob = new TestNode(world, 'bob').register();
    const alice = new TestNode(world, 'alice', { address: '203.0.113.9' }).register();
    bob.answer(alice, alice.offer(bob));
    const address = '198.51.100.1';
    const guests = Array.from({ length: 200 }, (_, n) =>
      new TestNode(world, `eve ${n}`, { role: 'dial', address }).register(),
    );
    for (const guest of guests) bob.answer(guest, bytes('session', 16));
    for (const guest of guests) guest.offer(bob);
    alice.offer(bob, 'again');
    expect(alice.errors).toEqual([]);
    expect(guests.filter(({ errors }) => errors.length === 0)).toHaveLength(64);
  });

  it('carry some hundred messages at once from one peer to an instance of another, then forty a second', () => {
    const world = new RegistryWorld();
    const bob = new TestNode(world, 'bob').register();
    const [alice, carol] = [new TestNode(world, 'alice').register(), new TestNode(world, 'carol').register()];
    const trickle = (from: TestNode, box: number) =>
      from.send({
        t: 'trickle',
        session: bytes('session', 16),
        to: bob.identity.publicKey,
        instance: bob.instance,
        box: Uint8Array.of(box),
      });
    for (let n = 0; n < 400; n++) trickle(alice, n);
    expect(bob.received('trickle')).toHaveLength(320);
    expect(new Set(alice.errors)).toEqual(new Set(['RATE_LIMITED']));
    trickle(new TestNode(world, 'alice', { instance: 'another', role: 'dial' }).register(), 1);
    expect(bob.received('trickle')).toHaveLength(320);
    trickle(carol, 1);
    expect(bob.received('trickle')).toHaveLength(321);
    world.advance(1_000);
    for (let n = 0; n < 120; n++) trickle(alice, n);
    expect(bob.received('trickle')).toHaveLength(361);
    expect(alice.registered).toBe(true);
  });
});

describe('messages', () => {
  it('of one address are bounded, however many instances it has, and those of another are not', () => {
    const world = new RegistryWorld();
    const node = (name: string, address: string) =>
      new TestNode(world, name, { role: 'dial', address }).register();
    const alice = node('alice', '198.51.100.9');
    const isCutOff = ({ connection }: TestNode) => world.closed.get(connection) === 'RATE_LIMITED';
    const busy = () => {
      const eves = Array.from({ length: 40 }, (_, n) => node(`eve ${n}`, '203.0.113.66'));
      for (const eve of eves) {
        for (let sent = 0; sent < LIMITS.messagesBurst / 2; sent++) eve.send({ t: 'ping', sent });
      }
      return eves.filter((eve) => !isCutOff(eve)).length;
    };
    expect(busy()).toBe(LIMITS.addressMessagesBurst / (LIMITS.messagesBurst / 2));
    alice.send({ t: 'ping', sent: 1 });
    expect(isCutOff(alice)).toBe(false);
    world.advance(1_000);
    expect(busy()).toBe(LIMITS.addressMessagesPerSecond / (LIMITS.messagesBurst / 2));
  });
});

describe('relays', () => {
  it('prove a token of their own, where there is one, and peers can not use it', () => {
    const world = new RegistryWorld({
      token: 'for peers only, please',
      relayToken: 'for relays only, please',
    });
    const node = (name: string, role: 'relay' | 'listen', token: string) =>
      new TestNode(world, name, { role, token }).register();
    expect(node('bob', 'listen', 'for peers only, please').registered).toBe(true);
    expect(node('relay', 'relay', 'for relays only, please').registered).toBe(true);
    const eve = node('eve', 'relay', 'for peers only, please');
    expect(eve.received('error')).toMatchObject([
      { code: 'TOKEN_INVALID', message: expect.stringMatching(/relays by a token of their own/) },
    ]);
    expect(node('mallory', 'listen', 'for relays only, please').errors).toEqual(['TOKEN_INVALID']);
    expect(world.registry.registrations.relays()).toHaveLength(1);
  });

  it('are listed once each, as they registered last, however often they do', () => {
    const world = new RegistryWorld({ builtInRelay: undefined });
    const bob = new TestNode(world, 'bob').register();
    const url = (n: number) => `https://relay-${n}.example`;
    const relays = Array.from({ length: LIMITS.relaysPerDeployment + 2 }, (_, n) =>
      new TestNode(world, 'relay', { role: 'relay', instance: `relay ${n}`, url: url(n) }).register(),
    );
    expect(relays.every(({ registered }) => registered)).toBe(true);
    const listed = { relays: [{ id: relays[0]!.identity.publicKey, url: url(relays.length - 1) }] };
    expect(bob.received('relays').at(-1)).toEqual({ t: 'relays', ...listed });
    expect(new TestNode(world, 'carol').register().received('registered')[0]).toMatchObject(listed);
    relays.at(-1)!.disconnect();
    expect(bob.received('relays').at(-1)).toMatchObject({ relays: [{ url: url(relays.length - 2) }] });
  });

  it('are announced to everybody a few times at once, then together with others that come and go', () => {
    const world = new RegistryWorld({ builtInRelay: undefined });
    const bob = new TestNode(world, 'bob').register();
    for (let n = 0; n < 50; n++) new TestNode(world, 'eve', { role: 'relay' }).register().disconnect();
    expect(bob.received('relays')).toHaveLength(LIMITS.relayAnnouncementsBurst);
    const { identity } = new TestNode(world, 'relay', { role: 'relay' }).register();
    world.advance(LIMITS.relayAnnouncementEveryMs + 1_000);
    expect(bob.received('relays')).toHaveLength(LIMITS.relayAnnouncementsBurst + 1);
    expect(
      bob
        .received('relays')
        .at(-1)!
        .relays.map(({ id }) => id),
    ).toEqual([identity.publicKey]);
  });

  it(`are ${LIMITS.relaysPerDeployment} at most, the rendezvous's own among them`, () => {
    const world = new RegistryWorld();
    const relay = (n: number) => new TestNode(world, `relay ${n}`, { role: 'relay' }).register();
    const relays = Array.from({ length: LIMITS.relaysPerDeployment }, (_, n) => relay(n));
    expect(relays.pop()!.errors).toEqual(['LIMIT']);
    expect(relays.every(({ registered }) => registered)).toBe(true);
    const [welcome] = new TestNode(world, 'bob').register().received('registered');
    expect(welcome!.relays).toHaveLength(LIMITS.relaysPerDeployment);
  });

  it('prove theirs even where peers need none', () => {
    const world = new RegistryWorld({ relayToken: 'for relays only, please' });
    expect(new TestNode(world, 'bob').register().registered).toBe(true);
    expect(new TestNode(world, 'eve', { role: 'relay' }).register().errors).toEqual(['TOKEN_INVALID']);
  });
});

describe('connections', () => {
  let front: Front | undefined;
  afterEach(() => front?.close());

  it('are bounded in all, whoever opens them', async () => {
    front = await Front.listen({ host: '127.0.0.1', port: 0, about: 'x', connections: 5 });
    const { port } = front.endpoint;
    const sockets = Array.from({ length: 8 }, () =>
      connect(port, '127.0.0.1')
        .on('error', () => {})
        .resume(),
    );
    await expect.poll(() => sockets.filter(({ destroyed }) => destroyed).length).toBe(3);
    for (const socket of sockets) socket.destroy();
  });

  const open = async (host: string, localPort = 0): Promise<Socket> => {
    const { port } = front!.endpoint;
    const socket = connect({ host, port, localAddress: '127.0.0.1', localPort });
    socket.on('error', () => {}).resume();
    await once(socket, 'connect');
    return socket;
  };
  /** Whether there is room for so many and one more. */
  const isServed = async (beside: number): Promise<boolean> => {
    const others = await Promise.all(Array.from({ length: beside }, () => open('127.0.0.1')));
    const socket = await open('127.0.0.1');
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await new Promise((resolve) => socket.once('close', resolve));
    const room = others.every(({ destroyed }) => !destroyed);
    for (const other of others) other.destroy();
    return room && answer.startsWith('HTTP/1.1 200');
  };

  it('are counted no longer when they have ended, though two came from one port', async () => {
    front = await Front.listen({ host: '0.0.0.0', port: 0, about: 'x', connectionsPerAddress: 2 });
    const one = await open('127.0.0.1');
    const other = await open('127.0.0.2', one.localPort);
    expect(await isServed(0)).toBe(false);
    for (const socket of [one, other]) socket.destroy();
    await expect.poll(() => isServed(1)).toBe(true);
  });

  it.each([false, true])('are taken from an address as fast as they may come (TLS: %s)', async (isSecure) => {
    const home = mkdtempSync(join(tmpdir(), 'sallyport-limits-'));
    const tls = isSecure ? selfSignedTls(home) : undefined;
    rmSync(home, { recursive: true });
    front = await Front.listen({ host: '127.0.0.1', port: 0, about: 'x', tls });
    const { port } = front.endpoint;
    const open = async (localAddress: string): Promise<Socket> => {
      const socket = connect({ port, host: '127.0.0.1', localAddress }).on('error', () => undefined);
      socket.resume();
      await once(socket, 'connect');
      return socket;
    };
    /** Of so many that are made and ended at once, how many we are left. */
    const taken = async (count: number, localAddress: string): Promise<number> => {
      const sockets = await Promise.all(Array.from({ length: count }, () => open(localAddress)));
      await sleep(50);
      const left = sockets.filter(({ destroyed }) => !destroyed).length;
      for (const socket of sockets) socket.resetAndDestroy();
      return left;
    };
    let made = 0;
    while (made < 4 * LIMITS.arrivalsBurst && (await taken(128, '127.0.0.1')) === 128) made += 128;
    expect(made).toBeGreaterThanOrEqual(LIMITS.arrivalsBurst - 128);
    expect(made).toBeLessThan(4 * LIMITS.arrivalsBurst);
    expect(await taken(1, '127.0.0.2')).toBe(1);
    await expect.poll(() => taken(1, '127.0.0.1')).toBe(1);
  });

  it('are counted no longer when another comes from their port before their end was noticed', async () => {
    front = await Front.listen({ host: '127.0.0.1', port: 0, about: 'x', connectionsPerAddress: 8 });
    let socket = await open('127.0.0.1');
    for (let i = 0; i < 5; i++) {
      const { localPort } = socket;
      socket.resetAndDestroy();
      socket = await open('127.0.0.1', localPort);
    }
    socket.destroy();
    await expect.poll(() => isServed(7)).toBe(true);
  });
});

describe('a node', () => {
  let deployment: TestDeployment;
  afterEach(() => deployment.close());

  /** A hundred messages at once, as many as pass from one to another. */
  const pour = (from: SignalConnection, to: SignalConnection, id: Identity, box: Uint8Array): void => {
    const { instance } = to;
    for (let i = 0; i < 100; i++) {
      from.send({ t: 'trickle', session: new Uint8Array(16), to: id.publicKey, instance, box });
    }
  };
  const isDropped = ({ id }: Identity) =>
    deployment.events.some((event) => event.type === 'left' && event.id === id);

  it.each([false, true])('that reads may be sent any number of messages at once (TLS: %s)', async (tls) => {
    deployment = await TestDeployment.start({ tls });
    const bob = await deployment.node();
    let received = 0;
    bob.signal.on('message', () => received++);
    const others = await Promise.all([1, 2, 3].map(() => deployment.node({ role: 'dial' })));
    for (const { signal } of others) pour(signal, bob.signal, bob.identity, new Uint8Array(40));
    await expect.poll(() => received).toBe(300);
    expect(isDropped(bob.identity)).toBe(false);
  });

  it('that does not read is dropped once 64 messages wait for it, and comes back', async () => {
    deployment = await TestDeployment.start();
    const pipe = await stoppablePipe(deployment);
    const bob = await deployment.node({ url: pipe.url });
    pipe.stop();
    pipe.stopNew();
    const back = once(bob.signal, 'registered');
    for (let n = 0; n < 40 && !isDropped(bob.identity); n++) {
      const { signal } = await deployment.node({ role: 'dial' });
      pour(signal, bob.signal, bob.identity, new Uint8Array(4_000));
      await sleep(10);
      signal.close();
    }
    expect(isDropped(bob.identity)).toBe(true);
    pipe.go();
    await back;
    expect(await bob.signal.whenRegistered()).toBeDefined();
  });
});
