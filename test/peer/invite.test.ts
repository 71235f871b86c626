import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AllowFile } from '../../peer/allow-list.ts';
import { formatInvite, parseInvite } from '../../src/core/invite.ts';
import { Handshake } from '../../src/core/session/handshake.ts';
import type { Peer } from '../../src/index.ts';
import { Caller, Meeting, sentBy } from './meeting.ts';

let meeting: Meeting;
let bob: Peer;
let alice: Peer;
beforeEach(async () => {
  meeting = await Meeting.start();
  bob = await meeting.peer('bob');
  alice = await meeting.peer('alice');
});
afterEach(() => meeting.close());

function allowedBy(peer: Peer): unknown[] {
  return new AllowFile(peer.home.allowFile).rules();
}

function refusalOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'admitted',
    (thrown: unknown) => (thrown as { code: string }).code,
  );
}

describe('an invite', () => {
  it('puts each peer onto the other’s allow list, and stays in force afterwards', async () => {
    expect(await refusalOf(alice.connect(bob.id))).toBe('NOT_AUTHORIZED');
    const guests: string[] = [];
    bob.on('guest', (guest) => guests.push(guest));
    bob.handle('echo', (stream) => stream.pipe(stream));
    const session = await alice.accept(bob.invite());
    expect(guests).toEqual([alice.id]);
    expect(allowedBy(bob)).toEqual([{ id: alice.id, grant: 'all' }]);
    expect(allowedBy(alice)).toEqual([{ id: bob.id, grant: 'all' }]);
    const stream = await session.open('echo');
    stream.end('hello');
    expect(await stream.toArray().then((chunks) => Buffer.concat(chunks).toString())).toBe('hello');
    expect((await alice.connect(bob.id)).end).toBeUndefined();
    await expect.poll(() => refusalOf(bob.connect(alice.id))).toBe('admitted');
  });

  it('for services that no list can name is refused when it is made, and when it is taken', async () => {
    expect(() => bob.invite({ services: ['web\nany'] })).toThrow(/control character/);
    const code = bob.invite();
    expect(await refusalOf(alice.accept(code, { services: ['web\nany'] }))).toBe('USAGE');
    expect(allowedBy(alice)).toEqual([]);
    await alice.accept(code); // it was not used up
  });

  it('is good for one guest only', async () => {
    const carol = await meeting.peer('carol');
    const code = bob.invite();
    await alice.accept(code);
    expect(await refusalOf(carol.accept(code))).toBe('NOT_AUTHORIZED');
    expect(await refusalOf(alice.accept(code))).toBe('NOT_AUTHORIZED');
    expect(allowedBy(carol)).toEqual([]);
    expect(allowedBy(bob)).toHaveLength(1);
  });

  it('that two guests offer at once lets in one of them', async () => {
    const carol = await meeting.peer('carol');
    const code = bob.invite();
    const outcomes = await Promise.all([alice, carol].map((peer) => refusalOf(peer.accept(code))));
    expect(new Set(outcomes)).toEqual(new Set(['NOT_AUTHORIZED', 'admitted']));
    expect(allowedBy(bob)).toHaveLength(1);
  });

  it('may narrow what the guest reaches', async () => {
    await alice.accept(bob.invite({ services: ['web', 'ssh'] }));
    expect(allowedBy(bob)).toEqual([{ id: alice.id, grant: new Set(['web', 'ssh']) }]);
  });

  it('may narrow what the inviter reaches in turn', async () => {
    await alice.accept(bob.invite(), { services: ['web'] });
    expect(allowedBy(alice)).toEqual([{ id: bob.id, grant: new Set(['web']) }]);
  });

  it('is kept as something that nobody could be let in with, in a private file', () => {
    const { secret } = parseInvite(bob.invite());
    const folder = bob.home.invitesFolder;
    const [name] = readdirSync(folder);
    const kept = `${name} ${readFileSync(join(folder, name!), 'utf8')}`;
    for (const form of ['hex', 'base64', 'base64url'] as const) {
      expect(kept).not.toContain(Buffer.from(secret).toString(form));
    }
  });

  it('takes away what is left of expired ones, and nothing that another process is just writing', () => {
    bob.invite();
    const folder = bob.home.invitesFolder;
    const [name] = readdirSync(folder);
    const path = join(folder, name!);
    const begun = `${path}.0123456789ab`;
    writeFileSync(begun, '', { mode: 0o600 });
    for (const over of [path, `${path}.used`])
      writeFileSync(over, JSON.stringify({ expires: 0, services: [] }), { mode: 0o600 });
    bob.invite();
    const left = readdirSync(folder).map((each) => join(folder, each));
    expect(left).toHaveLength(2);
    expect(left).toContain(begun);
    expect(left).not.toContain(path);
  });

  it('that has expired, is of another secret or for a denied peer is refused alike', async () => {
    const code = bob.invite();
    const [name] = readdirSync(bob.home.invitesFolder);
    const path = join(bob.home.invitesFolder, name!);
    const invite = parseInvite(code);
    const wrong = formatInvite({ ...invite, secret: new Uint8Array(16) });
    expect(await refusalOf(alice.accept(wrong))).toBe('NOT_AUTHORIZED');

    const before = readFileSync(path, 'utf8');
    writeFileSync(path, JSON.stringify({ ...JSON.parse(before), expires: Date.now() - 1 }));
    expect(await refusalOf(alice.accept(code))).toBe('NOT_AUTHORIZED');

    writeFileSync(path, before);
    new AllowFile(bob.home.allowFile).deny(alice.id);
    expect(await refusalOf(alice.accept(code))).toBe('NOT_AUTHORIZED');
    expect(allowedBy(bob)).toEqual([{ id: alice.id, grant: 'none' }]);
    expect(allowedBy(alice)).toEqual([]);
  });

  it('that was made while the time of day was far ahead is no good once that is right', async () => {
    const made = (aheadMs: number) => {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + aheadMs });
      try {
        return bob.invite();
      } finally {
        vi.useRealTimers();
      }
    };
    expect(await refusalOf(alice.accept(made(365 * 24 * 3_600_000)))).toBe('NOT_AUTHORIZED');
    expect(allowedBy(bob)).toEqual([]);
    expect(await refusalOf(alice.accept(made(30_000)))).toBe('admitted');
    expect(readdirSync(bob.home.invitesFolder)).toEqual([]);
  });

  it('tells strangers nothing, not even that there is one', () => {
    const sent = sentBy(bob);
    const without = new Caller(meeting, bob, sent).offer();
    bob.invite();
    const stranger = new Caller(meeting, bob, sent);
    const offer = stranger.offer();
    const garbled = stranger.offer();
    garbled.offer.noise.fill(1);
    bob.deployment.emit('message', garbled.offer);
    expect(without.replies).toMatchObject([{ t: 'refuse', code: 'NOT_AUTHORIZED' }]);
    expect(offer.replies).toMatchObject([{ t: 'refuse', code: 'NOT_AUTHORIZED' }]);
    for (const { refusal } of [offer, garbled]) expect(refusal).toBe('NOT_AUTHORIZED');
    expect(bob.sessions).toHaveLength(0);
  });

  it('has what strangers write read for as long as it can be used, and no longer', () => {
    const read = vi.spyOn(Handshake, 'responder');
    const stranger = new Caller(meeting, bob);
    bob.invite();
    expect(stranger.offer().refusal).toBe('NOT_AUTHORIZED');
    expect(read).toHaveBeenCalledTimes(1);
    const [name] = readdirSync(bob.home.invitesFolder);
    const path = join(bob.home.invitesFolder, name!);
    writeFileSync(path, JSON.stringify({ expires: Date.now() - 1, services: [] }));
    expect(stranger.offer().refusal).toBe('NOT_AUTHORIZED');
    expect(read).toHaveBeenCalledTimes(1);
  });
});
