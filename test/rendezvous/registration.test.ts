import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { signAuth, verifyChallenge, type AuthContext } from '../../src/core/protocol/auth.ts';
import { readSuccessions } from '../../src/core/succession.ts';
import { bytes, DEPLOYMENT, identity, RegistryWorld, TestNode } from './harness.ts';

describe('registration', () => {
  it('grants a lease, STUN credentials, relays, and says what it sees', () => {
    const world = new RegistryWorld();
    const bob = new TestNode(world, 'bob').register();
    const [registered] = bob.received('registered');
    expect(registered).toMatchObject({
      leaseMs: 60_000,
      time: world.now,
      observed: { address: '203.0.113.7' },
      relays: [{ id: DEPLOYMENT.publicKey, url: '' }],
    });
    expect(registered!.stun.key).toHaveLength(32);
    const found = world.registry.registrations.byStunUsername(registered!.stun.username);
    expect(found?.id).toBe(bob.identity.id);
  });

  it('proves the deployment’s own key over both nonces', () => {
    const world = new RegistryWorld();
    const bob = new TestNode(world, 'bob');
    bob.hello();
    const { signature, nonce } = bob.received('challenge')[0]!;
    const context = {
      deployment: DEPLOYMENT.id,
      nonce,
      role: 'listen' as const,
      exporter: new Uint8Array(0),
    };
    const node = { id: bob.identity.id, nonce: bytes('nonce', 32) };
    expect(verifyChallenge(signature, node, context)).toBe(true);
    expect(verifyChallenge(signature, { ...node, nonce: bytes('other', 32) }, context)).toBe(false);
    expect(verifyChallenge(signature, node, { ...context, deployment: identity('impostor').id })).toBe(false);
  });

  it.each(['key', 'nonce', 'role', 'deployment', 'channel'])(
    'refuses a signature with another %s',
    (spoilt) => {
      const world = new RegistryWorld();
      const bob = new TestNode(world, 'bob');
      bob.hello();
      const context: AuthContext = {
        deployment: spoilt === 'deployment' ? identity('other').id : DEPLOYMENT.id,
        nonce: spoilt === 'nonce' ? bytes('recorded', 32) : bob.received('challenge')[0]!.nonce,
        role: spoilt === 'role' ? 'dial' : 'listen',
        exporter: spoilt === 'channel' ? bytes('exporter', 32) : new Uint8Array(0),
      };
      bob.auth({ signature: signAuth(spoilt === 'key' ? identity('mallory') : bob.identity, context) });
      expect(bob.errors).toEqual(['NOT_AUTHORIZED']);
      expect(world.closed.get(bob.connection)).toBe('NOT_AUTHORIZED');
    },
  );

  it('admits by the join token alone, where there is one', () => {
    const world = new RegistryWorld({ token: 'the right token' });
    expect(new TestNode(world, 'bob', { token: 'the right token' }).register().registered).toBe(true);
    expect(new TestNode(world, 'eve', { token: 'another token' }).register().errors).toEqual([
      'TOKEN_INVALID',
    ]);
    expect(new TestNode(world, 'mallory').register().errors).toEqual(['TOKEN_INVALID']);
  });

  it('refuses another protocol version and messages out of turn', () => {
    const world = new RegistryWorld();
    const future = new TestNode(world, 'future', { version: 2 });
    future.hello();
    expect(future.errors).toEqual(['VERSION_UNSUPPORTED']);
    const hasty = new TestNode(world, 'hasty');
    hasty.send({ t: 'ping', sent: 1 });
    expect(hasty.errors).toEqual(['PROTOCOL_ERROR']);
    const twice = new TestNode(world, 'twice').register();
    twice.hello();
    expect(twice.errors).toEqual(['PROTOCOL_ERROR']);
  });

  it('gives each step of the handshake five seconds', () => {
    const world = new RegistryWorld();
    const silent = new TestNode(world, 'silent');
    const halfway = new TestNode(world, 'halfway');
    world.advance(4_000);
    halfway.hello();
    world.advance(3_000);
    expect(world.closed.get(silent.connection)).toBe('TIMEOUT');
    expect(world.closed.has(halfway.connection)).toBe(false);
    world.advance(4_000);
    expect(world.closed.get(halfway.connection)).toBe('TIMEOUT');
  });

  it('ends a lease that is not kept up, and keeps one that is', () => {
    const world = new RegistryWorld();
    const quiet = new TestNode(world, 'quiet').register();
    const lively = new TestNode(world, 'lively').register();
    for (let i = 0; i < 5; i++) {
      world.advance(20_000);
      lively.send({ t: 'ping', sent: i });
    }
    expect(quiet.registered).toBe(false);
    expect(lively.registered).toBe(true);
    expect(lively.received('pong').at(-1)).toEqual({ t: 'pong', sent: 4, time: world.now });
    lively.offer(quiet);
    expect(lively.errors).toEqual(['PEER_OFFLINE']);
  });

  it('has nothing to wake up for when nobody is there', () => {
    const world = new RegistryWorld();
    const bob = new TestNode(world, 'bob').register();
    bob.disconnect();
    world.advance(2_000);
    expect(world.registry.deadline).toBeUndefined();
  });
});

describe('the STUN of a relay', () => {
  const told = (stun: Endpoint[]) => {
    const world = new RegistryWorld({ builtInRelay: undefined });
    const early = new TestNode(world, 'early').register();
    new TestNode(world, 'relay', { role: 'relay', stun }).register();
    const late = new TestNode(world, 'late').register();
    const [announced] = early.received('relays').at(-1)!.relays;
    expect(late.received('registered')[0]!.relays).toEqual([announced]);
    return announced?.stun;
  };
  // What every node of this world comes from.
  const own = { address: '203.0.113.7', port: 3_478 };

  it('is told to peers, whoever came first', () => {
    expect(told([own])).toEqual([own]);
  });

  it('is where it connects from, when it knows no address of its own', () => {
    expect(told([{ address: '', port: 3_478 }])).toEqual([own]);
  });

  it('is at no address but that: nobody aims peers at a third party', () => {
    expect(told([{ address: '198.51.100.99', port: 53 }])).toBeUndefined();
    expect(told([{ address: '198.51.100.99', port: 53 }, own])).toEqual([own]);
  });

  it(`is told of ${LIMITS.stunServersPerRelay} endpoint`, () => {
    expect(told([own, { ...own, port: 3_479 }])).toEqual([own]);
  });
});

describe('one listener per peer', () => {
  it('lets the same instance take its own place at once', () => {
    const world = new RegistryWorld();
    const bob = new TestNode(world, 'bob').register();
    const old = bob.connection;
    const username = bob.received('registered')[0]!.stun.username;
    bob.reconnect();
    expect(world.closed.has(old)).toBe(true);
    expect(bob.received('registered')[0]!.stun.username).toBe(username);
  });

  it('refuses the same instance without its secret', () => {
    const world = new RegistryWorld();
    new TestNode(world, 'bob').register();
    const thief = new TestNode(world, 'bob', { secret: 'guessed' }).register();
    expect(thief.errors).toEqual(['NOT_AUTHORIZED']);
  });

  it('refuses a second listener while the first answers a ping', () => {
    const world = new RegistryWorld();
    const first = new TestNode(world, 'bob').register();
    const second = new TestNode(world, 'bob', { instance: 'second' }).register();
    expect(world.probed).toEqual([first.connection]);
    expect(second.registered).toBe(false);
    world.input({ type: 'alive', connection: first.connection });
    expect(second.errors).toEqual(['ALREADY_REGISTERED']);
    expect(first.registered).toBe(true);
  });

  it('lets a second listener in when the first is silent for five seconds', () => {
    const world = new RegistryWorld();
    const first = new TestNode(world, 'bob').register();
    const second = new TestNode(world, 'bob', { instance: 'second', boot: 'later' }).register();
    world.advance(4_000);
    expect(second.registered).toBe(false);
    world.advance(3_000);
    expect(second.registered).toBe(true);
    expect(world.closed.has(first.connection)).toBe(true);
  });

  it('lets a waiting listener in at once when the first hangs up', () => {
    const world = new RegistryWorld();
    const first = new TestNode(world, 'bob').register();
    const second = new TestNode(world, 'bob', { instance: 'second' }).register();
    first.disconnect();
    expect(second.registered).toBe(true);
  });

  it('lets a waiting listener in at once when the first says good-bye', () => {
    const world = new RegistryWorld();
    const first = new TestNode(world, 'bob').register();
    const second = new TestNode(world, 'bob', { instance: 'second' }).register();
    first.send({ t: 'bye' });
    expect([first.registered, second.registered]).toEqual([false, true]);
  });

  it('lets in one of two that waited for the first, and asks that one for the other', () => {
    const world = new RegistryWorld();
    const first = new TestNode(world, 'bob').register();
    const second = new TestNode(world, 'bob', { instance: 'second' }).register();
    const third = new TestNode(world, 'bob', { instance: 'third' }).register();
    world.advance(6_000);
    expect([first, second, third].map(({ registered }) => registered)).toEqual([false, true, false]);
    expect(world.probed.at(-1)).toBe(second.connection);
    world.input({ type: 'alive', connection: second.connection });
    expect(third.errors).toEqual(['ALREADY_REGISTERED']);
    expect(second.registered).toBe(true);
  });

  it('asks the first anew when it has come back by another connection meanwhile', () => {
    const world = new RegistryWorld();
    const first = new TestNode(world, 'bob').register();
    const second = new TestNode(world, 'bob', { instance: 'second' }).register();
    world.advance(2_000);
    first.reconnect();
    world.advance(4_000);
    expect([first.registered, second.registered]).toEqual([true, false]);
    expect(world.probed.at(-1)).toBe(first.connection);
    world.advance(6_000); // silent
    expect([first.registered, second.registered]).toEqual([false, true]);
  });

  it('refuses one that waited while another peer took its name', () => {
    const world = new RegistryWorld();
    new TestNode(world, 'bob').register();
    const named = new TestNode(world, 'bob', { instance: 'second', name: 'nas' }).register();
    const eve = new TestNode(world, 'eve', { name: 'nas' }).register();
    world.advance(7_000);
    expect(named.errors).toEqual(['ALREADY_REGISTERED']);
    expect(world.registry.registrations.nameHolder('nas', world.now)).toBe(eve.identity.id);
  });

  it('takes diallers beside a listener', () => {
    const world = new RegistryWorld();
    const listener = new TestNode(world, 'bob').register();
    const dialler = new TestNode(world, 'bob', { instance: 'dial', role: 'dial' }).register();
    expect([listener.registered, dialler.registered]).toEqual([true, true]);
  });

  it(`holds at most ${LIMITS.instancesPerPeer} instances of one peer`, () => {
    const world = new RegistryWorld();
    const diallers = Array.from({ length: LIMITS.instancesPerPeer + 1 }, (_, i) =>
      new TestNode(world, 'bob', { instance: `dial ${i}`, role: 'dial' }).register(),
    );
    expect(diallers.filter(({ registered }) => registered)).toHaveLength(LIMITS.instancesPerPeer);
    expect(diallers.at(-1)!.errors).toEqual(['LIMIT']);
  });
});

describe('names', () => {
  const resolve = (asker: TestNode, name: string) => {
    asker.send({ t: 'resolve', name });
    return asker.received('resolved').at(-1)?.id;
  };

  it('belong to their first listener, for one lease after it left', () => {
    const world = new RegistryWorld();
    const asker = new TestNode(world, 'asker', { role: 'dial' }).register();
    const bob = new TestNode(world, 'bob', { name: 'nas' }).register();
    expect(resolve(asker, 'nas')).toEqual(bob.identity.publicKey);
    expect(resolve(asker, 'other')).toBeUndefined();
    expect(new TestNode(world, 'eve', { name: 'nas' }).register().errors).toEqual(['ALREADY_REGISTERED']);
    bob.disconnect();
    expect(new TestNode(world, 'eve', { name: 'nas' }).register().errors).toEqual(['ALREADY_REGISTERED']);
    for (let i = 0; i < 4; i++) {
      world.advance(20_000);
      asker.send({ t: 'ping', sent: i });
    }
    const eve = new TestNode(world, 'eve', { name: 'nas' }).register();
    expect(eve.registered).toBe(true);
    expect(resolve(asker, 'nas')).toEqual(eve.identity.publicKey);
  });

  it('stay their listener’s when a dialler of the same peer leaves', () => {
    const world = new RegistryWorld();
    const bob = new TestNode(world, 'bob', { name: 'nas' }).register();
    new TestNode(world, 'bob', { instance: 'dial', role: 'dial', name: 'nas' }).register().disconnect();
    for (let i = 0; i < 4; i++) {
      world.advance(20_000);
      bob.send({ t: 'ping', sent: i });
    }
    expect(new TestNode(world, 'eve', { name: 'nas' }).register().errors).toEqual(['ALREADY_REGISTERED']);
    expect(resolve(bob, 'nas')).toEqual(bob.identity.publicKey);
  });
});

describe('a listener that has taken another’s place', () => {
  it('takes its name at once, and shows by what right', () => {
    const world = new RegistryWorld();
    const asker = new TestNode(world, 'asker', { role: 'dial' }).register();
    new TestNode(world, 'bob', { name: 'nas' }).register().disconnect();
    const eve = new TestNode(world, 'eve', { name: 'nas', after: ['alice'] }).register();
    expect(eve.errors).toEqual(['ALREADY_REGISTERED']);
    const heir = new TestNode(world, 'heir', { name: 'nas', after: ['bob', 'between'] }).register();
    expect(heir.registered).toBe(true);
    asker.send({ t: 'resolve', name: 'nas' });
    const { id, successions } = asker.received('resolved').at(-1)!;
    expect(id).toEqual(heir.identity.publicKey);
    const chain = readSuccessions(successions!, heir.identity.id);
    expect(chain.map(({ from }) => from)).toEqual([identity('bob').id, identity('between').id]);
  });
});

describe('drain', () => {
  it('tells everybody another moment to come back', () => {
    const world = new RegistryWorld();
    const nodes = Array.from({ length: 20 }, (_, i) => new TestNode(world, `node ${i}`).register());
    world.input({ type: 'drain' });
    const moments = nodes.map((node) => node.received('restarting')[0]!.reconnectInMs);
    expect(new Set(moments).size).toBeGreaterThan(15);
    for (const moment of moments) expect(moment >= 250 && moment <= 5_000).toBe(true);
  });
});
