import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Peer } from '../../src/index.ts';
import { RelayLink } from '../../src/net/relay-link.ts';
import { Meeting, sentBy } from './meeting.ts';

let meeting: Meeting;
let alice: Peer;
let bob: Peer;
beforeEach(async () => {
  meeting = await Meeting.start();
  bob = await meeting.peer('bob', ['any']);
  alice = await meeting.peer('alice');
});
afterEach(() => meeting.close());

/** Where the relay alone is allowed. */
describe('the keys of a session', () => {
  it('are confirmed by the circuit, without a box', async () => {
    const sent = sentBy(alice);
    // One that takes longer than a second has its box.
    await vi.waitFor(
      async () => {
        sent.length = 0;
        const session = await alice.connect(bob.id, { paths: ['relay'] });
        await session.close();
        expect(sent.map(({ t }) => t)).toEqual(['offer']);
      },
      { timeout: 20_000 },
    );
  });

  it('are confirmed by a box where the circuit is late', async () => {
    vi.spyOn(RelayLink.prototype, 'open').mockReturnValue(new Promise(() => {}));
    const sent = sentBy(alice);
    const given = new AbortController();
    const connecting = alice.connect(bob.id, { paths: ['relay'], signal: given.signal });
    await vi.waitFor(() => expect(sent.filter(({ t }) => t === 'trickle')).toHaveLength(1), 5_000);
    given.abort();
    await expect(connecting).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
