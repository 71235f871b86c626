import { describe, expect, it } from 'vitest';
import { verifyOffer } from '../../src/core/protocol/auth.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { readTicket } from '../../src/core/protocol/ticket.ts';
import { encodeSuccessions, readSuccessions, successionsTo } from '../../src/core/succession.ts';
import { bytes, DEPLOYMENT, identity, RegistryWorld, TestNode } from './harness.ts';

function pair() {
  const world = new RegistryWorld();
  const alice = new TestNode(world, 'alice', { role: 'dial' }).register();
  const bob = new TestNode(world, 'bob').register();
  return { world, alice, bob };
}

describe('introductions', () => {
  it('pass an offer on with the time, a signature and a ticket for the responder’s leg', () => {
    const { world, alice, bob } = pair();
    const session = alice.offer(bob);
    const [offer] = bob.received('offer');
    const { noise, time, signature, tickets } = offer!;
    expect(offer).toMatchObject({
      session,
      from: alice.identity.publicKey,
      instance: alice.instance,
      time: world.now,
    });
    const signed = { from: alice.identity.id, session, noise, time };
    expect(verifyOffer(DEPLOYMENT.id, signature, signed)).toBe(true);
    expect(verifyOffer(DEPLOYMENT.id, signature, { ...signed, time: time + 1 })).toBe(false);
    expect(readTicket(tickets[0]!, DEPLOYMENT.id)).toMatchObject({
      leg: 1,
      peer: bob.identity.id,
      relay: DEPLOYMENT.id,
      expires: world.now + 120_000,
    });
  });

  it('pass an answer back with the ticket for the other leg of the same circuit', () => {
    const { alice, bob } = pair();
    const session = alice.offer(bob);
    bob.answer(alice, session);
    const [answer] = alice.received('answer');
    expect(answer).toMatchObject({ session, from: bob.identity.publicKey, instance: bob.instance });
    const mine = readTicket(answer!.tickets[0]!, DEPLOYMENT.id);
    const theirs = readTicket(bob.received('offer')[0]!.tickets[0]!, DEPLOYMENT.id);
    expect(mine).toMatchObject({ leg: 0, peer: alice.identity.id });
    expect(mine.circuit).toEqual(theirs.circuit);
  });

  it('are passed on again to a node that comes back while its first connection still stands', () => {
    const { world, alice, bob } = pair();
    const session = alice.offer(bob);
    world.advance(9_000);
    bob.reconnect();
    expect(bob.received('offer')).toMatchObject([{ session }]);
    world.advance(2_000);
    bob.reconnect();
    expect(bob.received('offer')).toEqual([]);
  });

  it('are passed on again to a node that hung up and came back, which may have left them unread', () => {
    const { world, alice, bob } = pair();
    const session = alice.offer(bob);
    bob.disconnect();
    world.advance(9_000);
    bob.reconnect();
    expect(bob.received('offer')).toMatchObject([{ session }]);
  });

  it('are passed on again neither to another process nor to who can’t prove that it is the same', () => {
    for (const other of [{ instance: 'another' }, { secret: 'another' }]) {
      const { world, alice, bob } = pair();
      alice.offer(bob);
      bob.disconnect();
      expect(new TestNode(world, 'bob', other).register().received('offer')).toEqual([]);
    }
  });

  it('are not passed on again to a node that said good-bye, nor more than sixteen messages', () => {
    const { alice, bob } = pair();
    alice.offer(bob);
    bob.send({ t: 'bye' });
    bob.reconnect();
    expect(bob.received('offer')).toEqual([]);
    for (let n = 0; n < 20; n++) alice.offer(bob, `session ${n}`);
    const passedOn = bob.received('offer').length;
    bob.reconnect();
    expect([passedOn, bob.received('offer').length]).toEqual([20, 16]);
  });

  it('grant tickets for the offerer’s leg at once where the offer asks for them', () => {
    const { alice, bob } = pair();
    alice.offer(bob);
    expect(alice.received('renewed')).toEqual([]);
    const session = bytes('another', 16);
    const to = bob.identity.publicKey;
    alice.send({ t: 'offer', session, to, noise: bytes('noise 1', 48), tickets: true });
    const [granted] = alice.received('renewed');
    const mine = readTicket(granted!.tickets[0]!, DEPLOYMENT.id);
    const theirs = readTicket(bob.received('offer')[1]!.tickets[0]!, DEPLOYMENT.id);
    expect(granted).toMatchObject({ session });
    expect(mine).toMatchObject({ leg: 0, peer: alice.identity.id, circuit: theirs.circuit });
  });

  it('renew tickets of either leg without having kept the session, and of no circuit of others', () => {
    const { alice, bob } = pair();
    const session = alice.offer(bob);
    const { circuit } = readTicket(bob.received('offer')[0]!.tickets[0]!, DEPLOYMENT.id);
    const renew = (node: TestNode, peer: TestNode, leg: 0 | 1) => {
      node.send({ t: 'renew', session, peer: peer.identity.publicKey, leg });
      return readTicket(node.received('renewed').at(-1)!.tickets[0]!, DEPLOYMENT.id);
    };
    expect(renew(alice, bob, 0)).toMatchObject({ circuit, leg: 0, peer: alice.identity.id });
    expect(renew(bob, alice, 1)).toMatchObject({ circuit, leg: 1, peer: bob.identity.id });
    const eve = new TestNode(alice.world, 'eve', { role: 'dial' }).register();
    expect(renew(eve, bob, 0).circuit).not.toEqual(circuit);
    expect(renew(eve, alice, 1).circuit).not.toEqual(circuit);
  });

  it('pass refusals and trickled candidates to the very instance they name', () => {
    const { alice, bob } = pair();
    const other = new TestNode(alice.world, 'alice', { instance: 'other', role: 'dial' }).register();
    const session = alice.offer(bob);
    const to = alice.identity.publicKey;
    bob.send({ t: 'trickle', session, to, instance: alice.instance, box: bytes('box', 40) });
    bob.send({ t: 'refuse', session, to, instance: alice.instance, code: 'NOT_AUTHORIZED' });
    expect(alice.received('trickle')).toMatchObject([
      { session, from: bob.identity.publicKey, box: bytes('box', 40) },
    ]);
    expect(alice.received('refuse')).toMatchObject([{ session, code: 'NOT_AUTHORIZED' }]);
    expect(other.received('trickle')).toEqual([]);
  });

  it('find a listener by its name', () => {
    const { world, alice } = pair();
    const nas = new TestNode(world, 'nas', { name: 'nas' }).register();
    alice.offer('nas');
    expect(nas.received('offer')).toHaveLength(1);
  });

  it('answer unknown, unregistered and dialling peers alike, bound to the session', () => {
    const { world, alice } = pair();
    const gone = new TestNode(world, 'gone').register();
    gone.disconnect();
    const dialler = new TestNode(world, 'dialler', { role: 'dial' }).register();
    const stranger = new TestNode(world, 'stranger');
    for (const target of [gone, dialler, stranger, 'no-such-name']) alice.offer(target);
    const session = bytes('session', 16);
    const message = { t: 'error', code: 'PEER_OFFLINE', message: 'no such peer is up', session };
    expect(alice.received('error')).toEqual([message, message, message, message]);
    expect(alice.registered).toBe(true);
  });

  it('take no offers from a relay', () => {
    const { world, bob } = pair();
    const relay = new TestNode(world, 'relay', { role: 'relay' }).register();
    relay.offer(bob);
    expect(relay.errors).toEqual(['NOT_AUTHORIZED']);
  });
});

describe('rates', () => {
  it('allow as many offers to one peer at once as there may be sessions, then ten a second', () => {
    const { world, alice, bob } = pair();
    for (let i = 0; i < LIMITS.sessionsPerPeer + 3; i++) alice.offer(bob, `session ${i}`);
    expect(bob.received('offer')).toHaveLength(LIMITS.sessionsPerPeer);
    expect(alice.errors).toEqual(['RATE_LIMITED', 'RATE_LIMITED', 'RATE_LIMITED']);
    for (let i = 0; i < 30; i++) alice.send({ t: 'resolve', name: `name-${i}` });
    expect(alice.received('resolved')).toHaveLength(30); // those were no look-ups
    world.advance(100);
    alice.offer(bob, 'later');
    expect(bob.received('offer')).toHaveLength(LIMITS.sessionsPerPeer + 1);
  });

  it('let no crowd reach one peer with more than twice as many at once, then twenty a second', () => {
    const { world, bob } = pair();
    const atOnce = 2 * LIMITS.sessionsPerPeer;
    const callers = Array.from({ length: atOnce + 1 }, (_, i) =>
      new TestNode(world, `caller ${i}`, { role: 'dial', address: `198.51.100.${i}` }).register(),
    );
    for (const caller of callers) caller.offer(bob);
    expect(bob.received('offer')).toHaveLength(atOnce);
    expect(callers.at(-1)!.errors).toEqual(['RATE_LIMITED']);
    world.advance(50);
    callers.at(-1)!.offer(bob, 'later');
    expect(bob.received('offer')).toHaveLength(atOnce + 1);
  });

  it('allow thirty look-ups, then ten a second, whether by name or by id', () => {
    const { world, alice } = pair();
    for (let i = 0; i < 40; i++) alice.send({ t: 'resolve', name: `name-${i}` });
    expect(alice.received('resolved')).toHaveLength(30);
    expect(alice.received('error').map(({ code, name }) => `${code} ${name}`)).toEqual(
      Array.from({ length: 10 }, (_, i) => `RATE_LIMITED name-${30 + i}`),
    );
    alice.offer(new TestNode(world, 'anybody'));
    expect(alice.errors.slice(-1)).toEqual(['RATE_LIMITED']);
    world.advance(1_000);
    for (let i = 0; i < 40; i++) alice.send({ t: 'resolve', name: `name-${i}` });
    expect(alice.received('resolved')).toHaveLength(40);
  });

  it('take an offer to who isn’t there for a look-up, and one that is passed on for none', () => {
    const { world, alice, bob } = pair();
    const nobody = new TestNode(world, 'nobody');
    for (let i = 0; i < 40; i++) alice.offer(bob, `session ${i}`);
    expect(bob.received('offer')).toHaveLength(40);
    for (let i = 0; i < 31; i++) alice.offer(nobody, `in vain ${i}`);
    expect(new Set(alice.errors.slice(0, 30))).toEqual(new Set(['PEER_OFFLINE']));
    expect(alice.errors.slice(30)).toEqual(['RATE_LIMITED']);
    // Without a look-up left, who is there and who isn't look alike.
    alice.offer(bob, 'one more');
    expect(alice.errors.slice(31)).toEqual(['RATE_LIMITED']);
  });

  it('end a connection that floods', () => {
    const { world, alice } = pair();
    for (let i = 0; i < 1_100; i++) alice.send({ t: 'ping', sent: i });
    expect(world.closed.get(alice.connection)).toBe('RATE_LIMITED');
  });
});

describe('relays', () => {
  it('are announced to everybody as they come and go, and tickets name them', () => {
    const { world, alice, bob } = pair();
    const relay = new TestNode(world, 'relay', { role: 'relay' }).register();
    const announced = alice.received('relays').at(-1)!.relays;
    expect(announced).toContainEqual({ id: relay.identity.publicKey, url: 'https://relay.example' });
    alice.offer(bob);
    const { tickets } = bob.received('offer')[0]!;
    const named = tickets.map((ticket) => readTicket(ticket, DEPLOYMENT.id).relay);
    expect(named.toSorted()).toEqual([DEPLOYMENT.id, relay.identity.id].toSorted());
    relay.disconnect();
    expect(alice.received('relays').at(-1)!.relays).toEqual([{ id: DEPLOYMENT.publicKey, url: '' }]);
  });

  it('are the same for both legs, however many there are', () => {
    const { world, alice, bob } = pair();
    for (let i = 0; i < 5; i++) new TestNode(world, `relay ${i}`, { role: 'relay' }).register();
    const session = alice.offer(bob);
    bob.answer(alice, session);
    const relaysOf = (tickets: Uint8Array[]) =>
      tickets.map((ticket) => readTicket(ticket, DEPLOYMENT.id).relay);
    const theirs = relaysOf(bob.received('offer')[0]!.tickets);
    expect(theirs).toHaveLength(2);
    expect(relaysOf(alice.received('answer')[0]!.tickets)).toEqual(theirs);
  });

  it('are eight at most', () => {
    const { world } = pair();
    const relays = Array.from({ length: 9 }, (_, i) =>
      new TestNode(world, `relay ${i}`, { role: 'relay' }).register(),
    );
    expect(relays.filter(({ registered }) => registered)).toHaveLength(7); // and the one built in
    expect(relays.at(-1)!.errors).toEqual(['LIMIT']);
  });
});

describe('a peer that is gone', () => {
  function introduced() {
    const { world, alice, bob } = pair();
    bob.answer(alice, alice.offer(bob));
    const stranger = new TestNode(world, 'stranger').register();
    return { world, alice, bob, stranger };
  }
  const goneBob = { t: 'gone', from: identity('bob').publicKey };

  it('is reported to its contacts ten seconds after its connection was closed', () => {
    const { world, alice, bob, stranger } = introduced();
    bob.disconnect();
    world.advance(9_000);
    expect(alice.received('gone')).toEqual([]);
    world.advance(2_000);
    expect(alice.received('gone')).toEqual([{ ...goneBob, instance: bob.instance }]);
    expect(stranger.received('gone')).toEqual([]);
  });

  it('is not reported when it comes back in time', () => {
    const { world, alice, bob } = introduced();
    bob.disconnect();
    world.advance(8_000);
    bob.reconnect();
    world.advance(30_000);
    expect(alice.received('gone')).toEqual([]);
  });

  it('is reported at once when it comes back as another process', () => {
    const { world, alice, bob } = introduced();
    bob.disconnect();
    new TestNode(world, 'bob', { instance: 'fresh', boot: 'another boot' }).register();
    expect(alice.received('gone')).toHaveLength(1);
  });

  it('is not reported when it has given up the connection itself, as where nothing gets through to it', () => {
    const { world, alice, bob } = introduced();
    bob.abandon();
    world.advance(30_000);
    expect(alice.received('gone')).toEqual([]);
  });

  it('is not reported for silence, until it comes back as another process', () => {
    const { world, alice, bob } = introduced();
    for (let i = 0; i < 4; i++) {
      world.advance(20_000);
      alice.send({ t: 'ping', sent: i });
    }
    expect(bob.registered).toBe(false);
    expect(alice.received('gone')).toEqual([]);
    new TestNode(world, 'bob', { instance: 'fresh', boot: 'another boot' }).register();
    expect(alice.received('gone')).toHaveLength(1);
  });

  it('is reported at once when it said good-bye', () => {
    const { alice, bob } = introduced();
    bob.send({ t: 'bye' });
    expect(alice.received('gone')).toHaveLength(1);
  });

  it('is reported to the answerer as well', () => {
    const { world, alice, bob } = introduced();
    alice.disconnect();
    world.advance(12_000);
    expect(bob.received('gone')).toMatchObject([{ from: alice.identity.publicKey }]);
  });
});

describe('an offer to an id that isn’t up', () => {
  const successorIn = (alice: TestNode) => alice.received('error').at(-1)?.successor;

  it('is told who has taken its place, and of its earlier ids no more than that one', () => {
    const { world, alice } = pair();
    const heir = new TestNode(world, 'heir', { after: ['first', 'second', 'third'] }).register();
    const session = alice.offer(new TestNode(world, 'second'));
    expect(alice.received('error')).toMatchObject([{ code: 'PEER_OFFLINE', session }]);
    const { id, successions } = successorIn(alice)!;
    expect(id).toEqual(heir.identity.publicKey);
    const chain = readSuccessions(successions, heir.identity.id);
    expect(chain.map(({ from }) => from)).toEqual([identity('second').id, identity('third').id]);
  });

  it('is told nothing where it is up itself, or its successor is not', () => {
    const { world, alice, bob } = pair();
    const heir = new TestNode(world, 'heir', { after: ['bob', 'carol'] }).register();
    alice.offer(bob);
    expect(bob.received('offer')).toHaveLength(1);
    const carol = new TestNode(world, 'carol');
    alice.offer(carol, 'second');
    expect(successorIn(alice)?.id).toEqual(heir.identity.publicKey);
    heir.disconnect();
    alice.offer(carol, 'third');
    expect(alice.errors).toEqual(['PEER_OFFLINE', 'PEER_OFFLINE']);
    expect(successorIn(alice)).toBeUndefined();
  });

  it('is told nothing of one that only dials, nor of one without its word', () => {
    const { world, alice } = pair();
    new TestNode(world, 'heir', { role: 'dial', after: ['carol'] }).register();
    const [carol, dave] = [new TestNode(world, 'carol'), new TestNode(world, 'dave')];
    const chain = successionsTo(identity('heir').id, dave.identity, world.now);
    const mallory = new TestNode(world, 'mallory', { claims: encodeSuccessions(chain) }).register();
    expect(mallory.registered).toBe(true);
    alice.offer(carol, 'first');
    alice.offer(dave, 'second');
    expect(alice.errors).toEqual(['PEER_OFFLINE', 'PEER_OFFLINE']);
    expect(alice.received('error').filter(({ successor }) => successor)).toEqual([]);
  });
});
