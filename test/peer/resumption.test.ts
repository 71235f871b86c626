import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi, type MockInstance } from 'vitest';
import type { ToRendezvous } from '../../src/core/protocol/rendezvous.ts';
import { RelayLink } from '../../src/net/relay-link.ts';
import type { Peer } from '../../src/index.ts';
import type { Session } from '../../peer/session.ts';
import { Caller, Meeting } from './meeting.ts';

const patience = { timeout: 30_000 };

let meeting: Meeting;
let [alice, bob]: Peer[] = [];
let relays: MockInstance | undefined;
beforeEach(async () => {
  meeting = await Meeting.start();
  bob = await meeting.peer('bob', ['any']);
  alice = await meeting.peer('alice');
  bob.handle('echo', (stream) => stream.pipe(stream));
});
afterEach(() => meeting.close());

/** Every path of the two is lost, and no other is to be had until `relays` is restored. */
function loseAllPaths(...sessions: Session[]): void {
  relays = vi.spyOn(RelayLink.prototype, 'open').mockImplementation(() => {
    throw new Error('no relay can be reached');
  });
  for (const { driver } of sessions) {
    for (const { id } of driver.paths) driver.removePath(id, 'lost');
  }
}

function epochsOf(session: Session): string[] {
  return session.trace.filter(({ stage }) => stage === 'keys').map(({ text }) => text);
}

describe('a session that lost all its paths', () => {
  it('goes on with the keys of a new handshake, and with its streams', async () => {
    const session = await alice!.connect(bob!.id, { paths: ['relay'] });
    const stream = await session.open('echo');
    stream.write('before');
    await once(stream, 'data');
    const theirs = bob!.sessions[0]!;
    loseAllPaths(session, theirs);
    const sent = randomBytes(100_000);
    stream.end(sent);
    await expect.poll(() => epochsOf(session), patience).toHaveLength(1);
    relays!.mockRestore();
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).equals(sent)).toBe(true);
    expect(epochsOf(session)[0]).toMatch(/epoch 1$/);
    expect(epochsOf(theirs)[0]).toMatch(/epoch 1$/);
    // And again: from the keys that the paths came up with.
    loseAllPaths(session, theirs);
    await expect.poll(() => epochsOf(session), patience).toHaveLength(2);
    relays!.mockRestore();
    expect(epochsOf(session)[1]).toMatch(/epoch 2$/);
    await session.ping().catch(() => once(session, 'attached'));
  });

  it('is offered by one end only, where both want to: that of the lower id', async () => {
    const session = await alice!.connect(bob!.id, { paths: ['relay'] });
    const theirs = bob!.sessions[0]!;
    const held = [alice!, bob!].map(holdOffers);
    loseAllPaths(session, theirs);
    await expect.poll(() => held.map(({ offers }) => offers.length), patience).toEqual([1, 1]);
    for (const { release } of held) release();
    await expect.poll(() => [epochsOf(session).length, epochsOf(theirs).length], patience).toEqual([1, 1]);
    const answers = held.map((end) => end.answers);
    expect(answers).toEqual(alice!.id < bob!.id ? [0, 1] : [1, 0]);
    relays!.mockRestore();
    await expect.poll(() => session.path?.kind, patience).toMatch(/^relay/);
  });

  it('ends with SESSION_UNKNOWN, streams and all, where the other end has forgotten it', async () => {
    const session = await alice!.connect(bob!.id, { paths: ['relay'] });
    const stream = await session.open('echo');
    const failed = once(stream, 'error');
    const theirs = bob!.sessions[0]!;
    loseAllPaths(session, theirs);
    theirs.driver.destroy(); // with no path it can't say so
    expect((await failed)[0]).toMatchObject({ code: 'SESSION_UNKNOWN' });
    const message = 'the peer has given this session up, or was started anew';
    expect(session.end).toMatchObject({ code: 'SESSION_UNKNOWN', message });
  });

  it('is not gone on with where it has ended before the answer came', async () => {
    const session = await alice!.connect(bob!.id, { paths: ['relay'] });
    const [ours, theirs] = [holdOffers(alice!), holdOffers(bob!)];
    loseAllPaths(session, bob!.sessions[0]!);
    await expect.poll(() => ours.offers.length, patience).toBeGreaterThan(0);
    const answered = new Promise<void>((resolve) => {
      alice!.deployment.on('message', ({ t }) => t === 'answer' && resolve());
    });
    session.driver.destroy();
    const relay = vi.spyOn(alice!.deployment, 'relay');
    ours.release();
    await answered;
    await new Promise(setImmediate);
    expect(theirs.answers).toBe(1);
    expect(relay).not.toHaveBeenCalled();
  });

  it('is taken up with the next epoch only, as far as it had come, and while its peer is allowed', () => {
    const caller = new Caller(meeting, bob!);
    const call = caller.offer({ kinds: ['relay'] });
    const { session } = call.offer;
    const offer = (epoch: number, next: number) =>
      caller.offer({ session, resume: { epoch, next } }).replies.at(-1);
    expect(offer(2, 0)).toMatchObject({ t: 'refuse', code: 'PROTOCOL_ERROR' });
    expect(offer(1, 1_000)).toMatchObject({ t: 'refuse', code: 'SESSION_UNKNOWN' });
    expect(offer(1, 0)).toMatchObject({ t: 'answer' });
    // The answer may have been lost, or have arrived.
    expect(offer(1, 0)).toMatchObject({ t: 'answer' });
    expect(offer(2, 0)).toMatchObject({ t: 'answer' });
    vi.spyOn(bob!.sessions[0]!.driver, 'destroy').mockReturnValue(); // it would be gone at once
    bob!.reconfigure({ allow: [], exposures: [], permits: [] });
    expect(offer(3, 0)).toMatchObject({ t: 'refuse', code: 'NOT_AUTHORIZED' });
  });

  it('is unknown where it never was, to those who are allowed', () => {
    const offer = new Caller(meeting, bob!).offer({ resume: { epoch: 1, next: 0 } });
    expect(offer.refusal).toBe('SESSION_UNKNOWN');
    expect(bob!.sessions).toHaveLength(0);
  });
});

/** Offers of that peer wait until they are released; its answers are counted. */
function holdOffers(peer: Peer) {
  const { deployment } = peer;
  const send = deployment.send.bind(deployment);
  const held = {
    offers: [] as ToRendezvous[],
    answers: 0,
    release: () => {
      for (const offer of held.offers) send(offer);
    },
  };
  vi.spyOn(deployment, 'send').mockImplementation((message) => {
    if (message.t === 'answer') held.answers++;
    if (message.t !== 'offer') return send(message);
    held.offers.push(message);
    return true;
  });
  return held;
}
