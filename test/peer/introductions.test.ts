import { createSocket } from 'node:dgram';
import { getEventListeners, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LIMITS } from '../../src/core/limits.ts';
import { publicKeyOf } from '../../src/core/identity.ts';
import type { Peer, Session } from '../../src/index.ts';
import { RelayLink } from '../../src/net/relay-link.ts';
import { Traversal } from '../../peer/traversal.ts';
import { Circuits } from '../../relay/circuits.ts';
import { Caller, freshIdentity, Meeting, sentBy } from './meeting.ts';

let meeting: Meeting;
let bob: Peer;
beforeEach(async () => {
  meeting = await Meeting.start();
  bob = await meeting.peer('bob', ['any']);
});
afterEach(() => meeting.close());

describe('an offer', () => {
  it('is answered when it is fresh, attested and new', () => {
    const call = new Caller(meeting, bob).offer();
    expect(call.replies.map(({ t }) => t)).toEqual(['answer']);
    expect(() => call.keys).not.toThrow();
    expect(bob.sessions).toHaveLength(1);
  });

  it.each([
    ['attested more than a minute ago', { ageMs: LIMITS.attestationLifetimeMs + 1_000 }],
    ['attested in the future', { ageMs: -10_000 }],
    ['attested by another than the rendezvous', { signer: freshIdentity() }],
  ])('gets nothing, not even a refusal, when it was %s', (_, spoilt) => {
    const call = new Caller(meeting, bob).offer(spoilt);
    expect(call.replies).toEqual([]);
    expect(bob.sessions).toHaveLength(0);
  });

  it('gets nothing the second time, under another session id or signature neither', () => {
    const caller = new Caller(meeting, bob);
    const call = caller.offer();
    call.deliver();
    expect(call.replies.map(({ t }) => t)).toEqual(['answer']);
    expect(bob.sessions).toHaveLength(1);
  });

  it(
    'is still answered when strangers have made more than can be remembered',
    { timeout: 120_000 },
    async () => {
      const alice = freshIdentity();
      const carol = await meeting.peer('carol', [alice.id]);
      const sent = sentBy(carol);
      const stranger = new Caller(meeting, carol, sent);
      for (let n = 0; n < LIMITS.rememberedStrangersOffers; n += 1) stranger.offer();
      expect(sent.filter(({ t }) => t === 'refuse')).toHaveLength(LIMITS.rememberedStrangersOffers);
      const heard = sent.length;
      stranger.offer();
      expect(sent).toHaveLength(heard);
      expect(new Caller(meeting, carol, sent, alice).offer().replies.map(({ t }) => t)).toEqual(['answer']);
    },
  );

  it('can not be passed off as somebody else’s', () => {
    const sent = sentBy(bob);
    const [alice, mallory] = [new Caller(meeting, bob, sent), new Caller(meeting, bob, sent)];
    const noise = alice.offer().offer.noise;
    const { offer, replies } = mallory.offer();
    expect(replies.map(({ t }) => t)).toEqual(['answer']);
    // The signature covers who, which session, what and when: none of them can be exchanged.
    for (const swap of [{ noise }, { from: alice.identity.publicKey }, { session: new Uint8Array(16) }]) {
      const before = sent.length;
      bob.deployment.emit('message', { ...offer, ...swap });
      expect(sent).toHaveLength(before);
    }
  });

  it('with the id of a session that lives is refused, and the session stays where deny finds it', () => {
    const caller = new Caller(meeting, bob);
    const call = caller.offer();
    const again = caller.offer({ session: call.offer.session });
    expect(again.refusal).toBe('PROTOCOL_ERROR');
    expect(bob.sessions.map(({ id }) => id)).toEqual([call.id]);
  });

  it('of a peer that is not allowed gets a refusal and nothing else', async () => {
    const carol = await meeting.peer('carol');
    const call = new Caller(meeting, carol).offer();
    expect(call.replies).toMatchObject([{ t: 'refuse', code: 'NOT_AUTHORIZED' }]);
    expect(carol.sessions).toHaveLength(0);
  });
});

describe('before its peer has proven the keys', () => {
  it('an answer costs one message, one relay leg and one primer, and is forgotten after twelve seconds', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    meeting.onClose(() => socket.close());
    let datagrams = 0;
    socket.on('message', () => datagrams++);
    const tickets = await ticketsOf(await meeting.peer('alice'), bob);
    const legs = vi.spyOn(Circuits.prototype, 'handle');
    const caller = new Caller(meeting, bob);
    const endpoint = { address: '127.0.0.1', port: socket.address().port };
    const call = caller.offer({
      candidates: [caller.attested({ type: 'srflx', transport: 'udp', endpoint })],
      tickets,
    });
    expect(call.answered).toBe(true);
    const [session] = bob.sessions.filter(({ id }) => id === call.id);
    const closed = once(session!, 'closed');
    bob.network.emit('changed'); // news of the network wait for the keys as well

    expect(await closed).toMatchObject([{ code: 'TIMEOUT' }]);
    await sleep(500);
    expect(call.replies.map(({ t }) => t)).toEqual(['answer']);
    expect(datagrams).toBe(1);
    const openings = legs.mock.calls.filter(
      ([input]) => input.type === 'open' && input.opening.ticket.peer === bob.id,
    );
    expect(openings).toHaveLength(1);
  });

  it('no more than 64 sessions of one peer are begun, their keys proven or not', () => {
    const sent = sentBy(bob);
    const caller = new Caller(meeting, bob, sent);
    const calls = Array.from({ length: LIMITS.sessionsPerPeer }, () => caller.offer());
    expect(calls.every(({ answered }) => answered)).toBe(true);
    expect(caller.offer().refusal).toBe('LIMIT');
    expect(new Caller(meeting, bob, sent).offer().answered).toBe(true);
    for (const call of calls) call.update({});
    expect(caller.offer().refusal).toBe('LIMIT');
  });

  it('no few peers can take all places of sessions that are just beginning', () => {
    const sent = sentBy(bob);
    const greedy = Array.from({ length: 5 }, () => new Caller(meeting, bob, sent));
    const begun = greedy.map(
      (caller) => Array.from({ length: 64 }, () => caller.offer()).filter(({ answered }) => answered).length,
    );
    expect(begun).toEqual([64, 64, 64, 32, 16]);
    expect(new Caller(meeting, bob, sent).offer().answered).toBe(true);
  });

  it('no crowd can begin more than 256 sessions', () => {
    const sent = sentBy(bob);
    const crowd = Array.from({ length: LIMITS.unconfirmed }, () => new Caller(meeting, bob, sent).offer());
    expect(crowd.at(-1)!.answered).toBe(true);
    expect(new Caller(meeting, bob, sent).offer().refusal).toBe('LIMIT');
    crowd[0]!.update({});
    expect(new Caller(meeting, bob, sent).offer().answered).toBe(true);
  });
});

describe('a sealed box', () => {
  it('that does not open, or holds no update, or comes from another peer has no effect at all', () => {
    const call = new Caller(meeting, bob).offer();
    const [session] = bob.sessions;
    const good = call.seal(new Uint8Array([0x80])); // an empty map
    const bad = [
      new Uint8Array(),
      new Uint8Array(23),
      new Uint8Array(400),
      good.slice(0, -1),
      call.seal(Uint8Array.of(1)), // a number
      call.seal(new Uint8Array(3_000)),
    ];
    for (const box of bad) call.box(box);
    call.box(good, freshIdentity().publicKey);
    expect(bob.sessions).toEqual([session]);
    expect(call.replies.map(({ t }) => t)).toEqual(['answer']); // nothing of this has proven the keys
    call.box(good);
    expect(call.replies.map(({ t }) => t)).toEqual(['answer', 'trickle']);
  });

  it('of another session does not open', () => {
    const caller = new Caller(meeting, bob);
    const [one, other] = [caller.offer(), caller.offer()];
    one.box(other.seal(new Uint8Array([0x80])));
    expect(one.replies.map(({ t }) => t)).toEqual(['answer']);
  });
});

describe('a peer that has proven the keys', () => {
  it('can not make us punch without end', async () => {
    const start = vi.spyOn(Traversal.prototype, 'start');
    const call = new Caller(meeting, bob).offer();
    for (let number = 1; number <= 50; number++) {
      call.update({ round: { number, start: { at: bob.deployment.serverTime() + 50, roundTripMs: 1 } } });
    }
    await sleep(100);
    expect(start.mock.calls.length).toBeGreaterThan(0);
    expect(start.mock.calls.length).toBeLessThanOrEqual(5);
  });

  it('can not set T0 more than two seconds ahead', () => {
    const start = vi.spyOn(Traversal.prototype, 'start');
    const call = new Caller(meeting, bob).offer();
    const far = bob.deployment.serverTime() + 1e12;
    call.update({ round: { number: 1, start: { at: far, roundTripMs: 10_000 } } });
    const now = bob.deployment.toLocal(bob.deployment.serverTime());
    for (const [at] of start.mock.calls) expect(at).toBeLessThanOrEqual(now + 2_000);
    expect(start).toHaveBeenCalledTimes(2);
  });

  it('can not make us send a third party more than forty datagrams a minute, by any number of sessions', async () => {
    const victim = createSocket('udp4').bind(0, '127.0.0.1');
    await once(victim, 'listening');
    meeting.onClose(() => victim.close());
    let datagrams = 0;
    victim.on('message', () => datagrams++);
    const endpoint = { address: '127.0.0.1', port: victim.address().port };
    const named = { type: 'host' as const, transport: 'udp' as const, endpoint };

    const caller = new Caller(meeting, bob);
    const calls = Array.from({ length: 8 }, () => caller.offer({ candidates: [named] }));
    for (let number = 1; number <= 3; number++) {
      for (const call of calls) {
        const start = { at: bob.deployment.serverTime(), roundTripMs: 1 };
        call.update({ candidates: [named], round: { number, start } });
      }
      await sleep(700);
    }
    expect(datagrams).toBeGreaterThan(10);
    expect(datagrams).toBeLessThanOrEqual(42);
  });
});

describe('a sample of the peer’s port counter', () => {
  it('counts where the rendezvous saw it, and is as old as its attestation', () => {
    const handle = vi.spyOn(Traversal.prototype, 'handle');
    const caller = new Caller(meeting, bob);
    const call = caller.offer();
    const at = (port: number) =>
      ({ type: 'srflx', transport: 'udp', endpoint: { address: '198.51.100.7', port } }) as const;
    const seen = caller.attested(at(5_000));
    call.update({ samples: [seen, at(5_001)] });
    const samples = handle.mock.calls.flatMap(([input]) =>
      input.type === 'remote' ? (input.samples ?? []) : [],
    );
    expect(samples).toHaveLength(1);
    expect(samples).toMatchObject([{ transport: 'udp', endpoint: seen.endpoint }]);
    expect(samples[0]!.seenAt).toBeCloseTo(bob.deployment.toLocal(seen.attestation!.time), -1);
  });
});

describe('an offer that is lost with the connection to the rendezvous', () => {
  it('is made anew upon registration, as another session', async () => {
    const alice = await meeting.peer('alice');
    const sent = sentBy(alice);
    const send = alice.deployment.send.bind(alice.deployment);
    let lost = false;
    alice.deployment.send = (message) => {
      if (message.t !== 'offer' || lost) return send(message);
      lost = true;
      sent.push(message);
      alice.network.emit('moved'); // as from one network into another: the connection is given up
      return true;
    };
    const session = await alice.connect(bob.id);
    const offers = sent.filter((message) => message.t === 'offer');
    expect(offers).toHaveLength(2);
    expect(offers[0]!.session).not.toEqual(offers[1]!.session);
    expect(session.peer).toBe(bob.id);
  });
});

describe('an answer', () => {
  it('counts only from the peer that the offer went to, and under its key', async () => {
    const alice = await meeting.peer('alice', ['any']);
    const [silent, mallory] = [freshIdentity(), freshIdentity()];
    // The rendezvous keeps the offer for itself, and tells alice what it likes.
    const send = vi.spyOn(alice.deployment, 'send').mockReturnValue(true);
    const connecting = alice.connect(silent.id);
    const failed = connecting.catch((thrown: unknown) => thrown);
    await vi.waitFor(() => expect(send).toHaveBeenCalledWith(expect.objectContaining({ t: 'offer' })));
    const [offer] = send.mock.calls.map(([message]) => message).filter((message) => message.t === 'offer');
    const { session } = offer as { session: Uint8Array };
    const instance = new Uint8Array(16);
    const noise = new Caller(meeting, alice, [], mallory).offer().offer.noise;
    const answer = { t: 'answer' as const, session, instance, noise, tickets: [] };
    alice.deployment.emit('message', { ...answer, from: mallory.publicKey });
    alice.deployment.emit('message', { t: 'refuse', session, from: mallory.publicKey, code: 'LIMIT' });
    alice.deployment.emit('message', { ...answer, from: publicKeyOf(silent.id) });
    expect(await failed).toMatchObject({ code: 'HANDSHAKE_FAILED' });
    expect(alice.sessions.filter(({ role }) => role === 'initiator')).toHaveLength(0);
  });

  it('to another offer of the same session is passed over, and the right one counts', async () => {
    const [alice, bob] = [await meeting.peer('alice'), await meeting.peer('bob', ['any'])];
    const send = alice.deployment.send.bind(alice.deployment);
    vi.spyOn(alice.deployment, 'send').mockImplementation((message) => {
      const isSent = send(message);
      if (message.t === 'offer') {
        const { session } = message;
        const from = publicKeyOf(bob.id);
        const [instance, noise] = [new Uint8Array(16), new Uint8Array(200).fill(3)];
        alice.deployment.emit('message', { t: 'answer', session, from, instance, noise, tickets: [] });
      }
      return isSent;
    });
    const session = await alice.connect(bob.id);
    expect(session.peer).toBe(bob.id);
  });
});

describe('an offer that is given up', () => {
  const aborted = expect.objectContaining({ code: 'ABORTED' }) as unknown;

  it('takes no place at the peer, whose answer is on its way', async () => {
    const alice = await meeting.peer('alice');
    let given: AbortController;
    const send = bob.deployment.send.bind(bob.deployment);
    vi.spyOn(bob.deployment, 'send').mockImplementation((message) => {
      if (message.t === 'answer') given?.abort();
      return send(message);
    });
    const ends: Promise<unknown[]>[] = [];
    bob.on('session', (session) => ends.push(once(session, 'closed')));
    for (let n = 0; n < LIMITS.sessionsPerPeer; n += 1) {
      given = new AbortController();
      await expect(alice.connect(bob.id, { signal: given.signal })).rejects.toEqual(aborted);
    }
    vi.restoreAllMocks();
    expect(await Promise.all(ends)).toEqual(ends.map(() => [aborted]));
    await expect(alice.connect(bob.id)).resolves.toMatchObject({ peer: bob.id });
  });

  it(
    'takes none either where the peer knows already that its keys are held',
    { timeout: 20_000 },
    async () => {
      const alice = await meeting.peer('alice');
      vi.spyOn(RelayLink.prototype, 'open').mockReturnValue(new Promise(() => {}));
      const sent = sentBy(alice);
      const given = new AbortController();
      const began = once(bob, 'session') as Promise<[Session]>;
      const connecting = alice.connect(bob.id, { paths: ['relay'], signal: given.signal });
      const failed = connecting.catch((thrown: unknown) => thrown);
      const [session] = await began;
      await vi.waitFor(() => expect(sent.some(({ t }) => t === 'trickle')).toBe(true), 5_000);
      given.abort();
      expect(await failed).toEqual(aborted);
      expect(await once(session, 'closed')).toEqual([aborted]);
    },
  );

  it('is told of only to the peer that it went to, and once: answers that nobody asked for get no reply', async () => {
    const alice = await meeting.peer('alice');
    const [sent, mallory] = [sentBy(alice), freshIdentity().publicKey];
    const given = new AbortController();
    const late: Parameters<typeof answer>[] = [];
    const answer = (session: Uint8Array, from: Uint8Array) => {
      const [instance, noise] = [new Uint8Array(16), new Uint8Array(200)];
      alice.deployment.emit('message', { t: 'answer', session, from, instance, noise, tickets: [] });
    };
    vi.spyOn(bob.deployment, 'send').mockImplementation(() => true); // its answer is made up below
    const connecting = alice.connect(bob.id, { signal: given.signal });
    const failed = connecting.catch((thrown: unknown) => thrown);
    await vi.waitFor(() => expect(sent.some(({ t }) => t === 'offer')).toBe(true));
    for (const message of sent) {
      if (message.t === 'offer') late.push([message.session, publicKeyOf(bob.id)]);
    }
    given.abort();
    expect(await failed).toEqual(aborted);
    const [session] = late[0]!;
    answer(new Uint8Array(16).fill(7), publicKeyOf(bob.id));
    answer(session, mallory);
    expect(sent.filter(({ t }) => t === 'refuse')).toEqual([]);
    answer(session, publicKeyOf(bob.id));
    answer(session, publicKeyOf(bob.id));
    expect(sent.filter(({ t }) => t === 'refuse')).toMatchObject([{ session, code: 'ABORTED' }]);
  });

  it('is not given up by another’s word, nor by a refusal of something else', async () => {
    const caller = new Caller(meeting, bob);
    const { session } = caller.offer({ kinds: ['relay'] }).offer;
    const refuse = (from: Uint8Array, code: string) =>
      bob.deployment.emit('message', { t: 'refuse', session, from, code });
    refuse(freshIdentity().publicKey, 'ABORTED');
    refuse(caller.identity.publicKey, 'LIMIT');
    expect(bob.sessions.map(({ end }) => end)).toEqual([undefined]);
    refuse(caller.identity.publicKey, 'ABORTED');
    expect(bob.sessions).toEqual([]);
  });

  it('leaves no trace in the signal that it was given', async () => {
    const alice = await meeting.peer('alice');
    const { signal } = new AbortController();
    const absent = freshIdentity().id;
    const attempt = () =>
      expect(alice.connect(absent, { signal })).rejects.toMatchObject({ code: 'PEER_OFFLINE' });
    for (let n = 0; n < 3; n += 1) await attempt();
    // Where `AbortSignal.any` keeps whatever follows a signal, for as long as that lives.
    const key = Object.getOwnPropertySymbols(signal).find(
      ({ description }) => description === 'kDependantSignals',
    );
    expect(key && (Reflect.get(signal, key) as ReadonlySet<unknown>).size).toBeUndefined();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

/** What the relay hears of the legs of one peer. */
function heardOf(peer: Peer) {
  const handled = vi.spyOn(Circuits.prototype, 'handle');
  const inputs = () => handled.mock.calls.map(([input]) => input);
  const legs = () =>
    inputs().flatMap((input) =>
      input.type === 'open' && input.opening.ticket.peer === peer.id ? [input.leg] : [],
    );
  const closed = () => inputs().filter((input) => input.type === 'closed' && legs().includes(input.leg));
  return { legs, closed };
}

describe('the offerer’s leg', () => {
  it('is open before the answer comes, and carries the circuit', async () => {
    const alice = await meeting.peer('alice');
    const { legs } = heardOf(alice);
    const send = bob.deployment.send.bind(bob.deployment);
    const waited = vi.waitFor(() => expect(legs()).toHaveLength(1));
    vi.spyOn(bob.deployment, 'send').mockImplementation((message) => {
      void waited.then(() => send(message));
      return true;
    });
    const session = await alice.connect(bob.id, { paths: ['relay'] });
    await session.ping();
    expect(legs()).toHaveLength(1);
  });

  it('is given up when the offer is refused', async () => {
    const alice = await meeting.peer('alice');
    const carol = await meeting.peer('carol');
    const { legs, closed } = heardOf(alice);
    await expect(alice.connect(carol.id)).rejects.toMatchObject({ code: 'NOT_AUTHORIZED' });
    await vi.waitFor(() => expect(closed()).toHaveLength(1));
    expect(legs()).toHaveLength(1);
  });

  it('is not opened for a session without the relay', async () => {
    const alice = await meeting.peer('alice');
    const { legs } = heardOf(alice);
    await alice.connect(bob.id, { paths: ['tcp'] });
    expect(legs()).toEqual([]);
  });
});

describe('the answerer’s leg', () => {
  it('leaves the relay with the session, whose other leg never came', async () => {
    const alice = await meeting.peer('alice');
    vi.spyOn(alice.deployment, 'relay').mockReturnValue(undefined);
    const { legs, closed } = heardOf(bob);
    const given = new AbortController();
    const connecting = alice.connect(bob.id, { paths: ['relay'], signal: given.signal });
    const failed = connecting.catch((thrown: unknown) => thrown);
    await vi.waitFor(() => expect(legs()).toHaveLength(1));
    given.abort();
    expect(await failed).toMatchObject({ code: 'ABORTED' });
    await vi.waitFor(() => expect(closed()).toHaveLength(1));
  });
});

describe('news that a peer is gone', () => {
  it('end a session that no path contradicts, and only that of the instance which is gone', async () => {
    const caller = new Caller(meeting, bob);
    const call = caller.offer({ kinds: ['relay'] });
    call.update({});
    const [session] = bob.sessions;
    const from = caller.identity.publicKey;
    bob.deployment.emit('message', { t: 'gone', from, instance: new Uint8Array(16) });
    const another = freshIdentity().publicKey;
    bob.deployment.emit('message', { t: 'gone', from: another, instance: caller.instance });
    await sleep(100);
    expect(session!.end).toBeUndefined();
    const closed = once(session!, 'closed');
    bob.deployment.emit('message', { t: 'gone', from, instance: caller.instance });
    expect(await closed).toMatchObject([{ code: 'PEER_LOST' }]);
  });

  it('end none whose peer still answers', async () => {
    const alice = await meeting.peer('alice');
    const session = await alice.connect(bob.id);
    const { instance } = bob.deployment;
    alice.deployment.emit('message', { t: 'gone', from: publicKeyOf(bob.id), instance });
    await sleep(500);
    expect(session.end).toBeUndefined();
    expect((await session.ping()).rttMs).toBeGreaterThan(0);
  });
});

/** Tickets for legs of `callee`'s, as the rendezvous issues them with an offer. */
async function ticketsOf(caller: Peer, callee: Peer): Promise<readonly Uint8Array[]> {
  const offered = new Promise<readonly Uint8Array[]>((resolve) => {
    callee.deployment.on('message', (message) => message.t === 'offer' && resolve(message.tickets));
  });
  const session = await caller.connect(callee.id, { paths: ['relay'] });
  await session.close();
  return offered;
}
