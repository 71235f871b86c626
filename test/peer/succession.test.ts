import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AllowFile } from '../../peer/allow-list.ts';
import { identityFromSeed, type Identity, type PeerId } from '../../src/core/identity.ts';
import type { ToRendezvous } from '../../src/core/protocol/rendezvous.ts';
import { encodeSuccessions, successionsTo } from '../../src/core/succession.ts';
import { Peer } from '../../src/index.ts';
import { rotateIdentity } from '../../src/net/identity-file.ts';
import type { SignalMessage } from '../../src/net/signal.ts';
import { Caller, freshIdentity, Meeting, sentBy } from './meeting.ts';

let meeting: Meeting;
let bob: Peer;
let alice: Peer;
/** By bob. */
let sent: ToRendezvous[];
beforeEach(async () => {
  meeting = await Meeting.start();
  bob = await meeting.peer('bob');
  sent = sentBy(bob);
  alice = await meeting.peer('alice');
});
afterEach(() => meeting.close());

/** Alice with a new key, `times` over. */
async function rotated(times = 1): Promise<Peer> {
  await alice.close();
  const { home } = alice;
  for (let n = 0; n < times; n += 1)
    rotateIdentity(home.keyFile, ({ id }) => home.retiredKeyFile(id), Date.now());
  alice = await meeting.peer('alice');
  return alice;
}

/** A key that takes the place of `old`, wherever it lies. */
function successorOf(old: Identity): Identity {
  const seed = new Uint8Array(randomBytes(32));
  return identityFromSeed(seed, successionsTo(identityFromSeed(seed).id, old, Date.now()));
}

function allowedBy(peer: Peer) {
  return new AllowFile(peer.home.allowFile).rules();
}

/** Bob, with what `act` writes into his allow list. */
async function listed(act: (file: AllowFile) => unknown): Promise<void> {
  await bob.close();
  act(new AllowFile(bob.home.allowFile));
  bob = await meeting.peer('bob');
  sent = sentBy(bob);
}

/** What comes of a session with bob: that he has answered in it, or why not. */
async function meets(peer: Peer): Promise<unknown> {
  return outcomeOf(peer.connect(bob.id).then((session) => session.ping()));
}

async function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'connected',
    (thrown: unknown) => (thrown as { code: string }).code,
  );
}

describe('a peer with a new key', () => {
  it('has what its old id was allowed, and the old id has nothing any more', async () => {
    const old = { id: alice.id, identity: alice.home.identity() };
    await listed((file) => file.allow(`${old.id}=web,ssh`));
    const news: PeerId[][] = [];
    bob.on('successor', (from, to) => news.push([from, to]));
    bob.settings.pinName('laptop', old.id);
    await rotated();
    expect(await meets(alice)).toBe('connected');
    expect(allowedBy(bob)).toEqual([
      { id: old.id, grant: 'none' },
      { id: alice.id, grant: new Set(['web', 'ssh']) },
    ]);
    expect(news).toEqual([[old.id, alice.id]]);
    expect(bob.settings.names).toEqual({ laptop: alice.id });
    const thief = new Caller(meeting, bob, sent, old.identity);
    expect(thief.offer().refusal).toBe('NOT_AUTHORIZED');
    expect(await meets(alice)).toBe('connected');
    expect(news).toHaveLength(1);
  });

  it('is known by any of its earlier ids, and the newest that is on the list counts', async () => {
    const first = alice.id;
    await listed((file) => file.allow(`${first}=web`));
    const second = (await rotated(2)).id;
    expect(await meets(alice)).toBe('connected');
    await rotated();
    expect(await meets(alice)).toBe('connected');
    expect(allowedBy(bob)).toEqual([
      { id: first, grant: 'none' },
      { id: second, grant: 'none' },
      { id: alice.id, grant: new Set(['web']) },
    ]);
  });

  it('loses the list’s other lines and notes to nobody', async () => {
    const carol = freshIdentity().id;
    writeFileSync(bob.home.allowFile, `# friends\n${carol}=web\n${alice.id} # her laptop\n`, { mode: 0o600 });
    await listed(() => {});
    const before = readFileSync(bob.home.allowFile, 'utf8');
    await rotated();
    await meets(alice);
    expect(readFileSync(bob.home.allowFile, 'utf8').startsWith(before)).toBe(true);
    expect(allowedBy(bob)).toContainEqual({ id: carol, grant: new Set(['web']) });
  });

  it('that two sessions of show at once is let in by both, and noted once', async () => {
    await listed((file) => file.allow(alice.id));
    await rotated();
    const both = await Promise.all([alice, alice].map(meets));
    expect(both).toEqual(['connected', 'connected']);
    expect(allowedBy(bob)).toHaveLength(2);
  });

  it('takes the place of the old one where everybody is let in, too', async () => {
    const old = alice.id;
    await listed((file) => [file.allow('any=web'), file.allow(`${old}=ssh`)]);
    await rotated();
    await meets(alice);
    expect(allowedBy(bob)).toContainEqual({ id: alice.id, grant: new Set(['ssh']) });
    expect(allowedBy(bob)).toContainEqual({ id: old, grant: 'none' });
  });
});

describe('a chain of successions', () => {
  let old: Identity;
  let heir: Identity;
  beforeEach(() => {
    old = alice.home.identity();
    heir = successorOf(old);
  });

  /** What comes of an offer of `identity`, which never proves the session's keys. */
  function offerOf(identity: Identity) {
    return new Caller(meeting, bob, sent, identity).offer();
  }

  it('changes nothing before the peer has proven the session’s keys', async () => {
    await listed((file) => file.allow(old.id));
    const before = readFileSync(bob.home.allowFile, 'utf8');
    const call = offerOf(heir);
    expect(call.answered).toBe(true);
    const [session] = bob.sessions;
    await once(session!, 'closed');
    expect(readFileSync(bob.home.allowFile, 'utf8')).toBe(before);
  }, 30_000);

  it('doesn’t bring a peer back that is on no list, whoever else is', async () => {
    await listed((file) => file.allow(freshIdentity().id));
    expect(offerOf(heir).refusal).toBe('NOT_AUTHORIZED');
  });

  it('leaves who is denied denied, where everybody is let in and an invite is open as well', async () => {
    await listed((file) => [file.allow('any'), file.deny(old.id)]);
    bob.invite();
    expect(offerOf(heir).refusal).toBe('NOT_AUTHORIZED');
    expect(offerOf(freshIdentity()).answered).toBe(true);
  });

  it('counts once: what a stolen old key signs later finds it denied', async () => {
    await listed((file) => file.allow(old.id));
    await rotated();
    await meets(alice);
    expect(offerOf(heir).refusal).toBe('NOT_AUTHORIZED');
    expect(offerOf(successorOf(heir)).refusal).toBe('NOT_AUTHORIZED');
  });

  it('is none of the business of a peer that the list names itself', async () => {
    await listed((file) => [file.allow(`${heir.id}=web`), file.deny(old.id)]);
    expect(offerOf(heir).answered).toBe(true);
  });

  it('that is another’s, or not signed by the old key, lets nobody in', async () => {
    await listed((file) => file.allow(old.id));
    const mallory = freshIdentity();
    const forged = successionsTo(mallory.id, { ...mallory, id: old.id }, 0);
    for (const successions of [heir.successions, forged])
      expect(offerOf({ ...mallory, successions }).refusal).toBe('NOT_AUTHORIZED');
  });

  it('changes nothing where its peer was taken off the list meanwhile', async () => {
    await listed((file) => file.allow(old.id));
    await rotated();
    const file = new AllowFile(bob.home.allowFile);
    bob.once('session', () => file.deny(old.id));
    const outcome = await outcomeOf(
      alice.connect(bob.id).then(async (session) => {
        const [end] = await once(session, 'closed');
        throw end;
      }),
    );
    expect(outcome).toBe('NOT_AUTHORIZED');
    expect(file.rules()).toEqual([{ id: old.id, grant: 'none' }]);
  });

  it('doesn’t touch what the options of the process allow', async () => {
    const carol = await meeting.peer('carol', [old.id]);
    const call = new Caller(meeting, carol, sentBy(carol), heir).offer();
    expect(call.refusal).toBe('NOT_AUTHORIZED');
  });
});

describe('a peer that is asked for by an id that it had before', () => {
  let before: PeerId;
  beforeEach(async () => {
    await listed((file) => file.allow('any'));
    before = bob.id;
  });

  /** Bob with a new key. */
  async function bobRotated(): Promise<void> {
    await bob.close();
    rotateIdentity(bob.home.keyFile, ({ id }) => bob.home.retiredKeyFile(id), Date.now());
    bob = await meeting.peer('bob');
  }

  it('is found, and is known here by its new id from then on', async () => {
    new AllowFile(alice.home.allowFile).allow(`${before}=web`);
    alice.settings.pinName('desk', before);
    const news: PeerId[][] = [];
    alice.on('successor', (from, to) => news.push([from, to]));
    await bobRotated();
    const session = await alice.connect(before);
    await session.ping();
    expect(session.peer).toBe(bob.id);
    expect(news).toEqual([[before, bob.id]]);
    expect(alice.settings.names).toEqual({ desk: bob.id });
    expect(allowedBy(alice)).toEqual([
      { id: before, grant: 'none' },
      { id: bob.id, grant: new Set(['web']) },
    ]);
    // Denied since then, the old id still leads to the new one, and to no other that it may name.
    expect((await alice.connect(before)).peer).toBe(bob.id);
  });

  it('is found where nothing is known of it here, and nothing is noted then', async () => {
    await bobRotated();
    expect((await alice.connect(before)).peer).toBe(bob.id);
    expect((await alice.plan(before)).peer).toBe(bob.id);
    expect(allowedBy(alice)).toEqual([]);
  });

  it('is found by an invite from before', async () => {
    const invite = bob.invite();
    await bobRotated();
    expect((await alice.accept(invite)).peer).toBe(bob.id);
    expect(allowedBy(alice)).toEqual([{ id: bob.id, grant: 'all' }]);
  });

  it('is not sought where it is denied', async () => {
    new AllowFile(alice.home.allowFile).deny(before);
    await bobRotated();
    await expect.poll(() => outcomeOf(alice.connect(before))).toBe('PEER_OFFLINE');
    expect(allowedBy(alice)).toEqual([{ id: before, grant: 'none' }]);
  });

  it('is nobody else, whatever the rendezvous says', async () => {
    await bob.close();
    const carol = await meeting.peer('carol', ['any']);
    const heir = successorOf(freshIdentity());
    const lies = [
      { id: carol.home.identity().publicKey, successions: encodeSuccessions(heir.successions) },
      { id: heir.publicKey, successions: encodeSuccessions(heir.successions) },
      { id: carol.home.identity().publicKey, successions: new Uint8Array() },
    ];
    for (const successor of lies) {
      const { deployment } = alice;
      const lie = (message: SignalMessage) => message.t === 'error' && Object.assign(message, { successor });
      deployment.prependListener('message', lie);
      expect(await outcomeOf(alice.connect(before))).toBe('PEER_OFFLINE');
      deployment.off('message', lie);
    }
  });
});

it('a name stays with a peer that has a new key, and with nobody without its old one’s word', async () => {
  await bob.close();
  await alice.close();
  const named = async (role?: 'dial') => {
    const home = role ? alice.home.folder : bob.home.folder;
    const options = role ? { role } : { name: 'desk', allow: ['any'] };
    const peer = await Peer.start({ home, rendezvous: meeting.rendezvous.url, ...options });
    meeting.onClose(() => peer.close());
    return peer;
  };
  bob = await named();
  alice = await named('dial');
  const before = bob.id;
  expect((await alice.connect('desk', { acceptName: true })).peer).toBe(before);
  await bob.close();
  rotateIdentity(bob.home.keyFile, ({ id }) => bob.home.retiredKeyFile(id), Date.now());
  bob = await named();
  expect((await alice.connect('desk')).peer).toBe(bob.id);
  expect(alice.settings.names).toEqual({ desk: bob.id });
});

describe('a peer with a new key, whose old id an option names', () => {
  it('is refused, and whoever wrote that option is told, once', async () => {
    const before = alice.id;
    await bob.close();
    bob = await meeting.peer('bob', [before]);
    expect(await meets(alice)).toBe('connected');
    const told: PeerId[][] = [];
    bob.on('outdated', (from, to) => told.push([from, to]));
    await rotated();
    expect(await meets(alice)).toBe('NOT_AUTHORIZED');
    expect(await meets(alice)).toBe('NOT_AUTHORIZED');
    expect(told).toEqual([[before, alice.id]]);
    bob.reconfigure({ allow: [alice.id], exposures: [], permits: [] });
    expect(await meets(alice)).toBe('connected');
  });
});
