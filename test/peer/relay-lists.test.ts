import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { LIMITS } from '../../src/core/limits.ts';
import { RelayLink } from '../../src/net/relay-link.ts';
import { SignalConnection } from '../../src/net/signal.ts';
import { freshIdentity, Meeting } from './meeting.ts';

let meeting: Meeting;
beforeEach(async () => (meeting = await Meeting.start()));
afterEach(() => meeting.close());

/** Whoever has the join token can offer a relay at any URL. */
async function offerRelay(): Promise<SignalConnection> {
  const { rendezvous } = meeting;
  const relay = { url: 'http://127.0.0.1:1', stunUdp: [], stunTcp: [] };
  const offered = new SignalConnection({
    url: rendezvous.url,
    identity: freshIdentity(),
    role: 'relay',
    relay,
  });
  await offered.whenRegistered();
  return offered;
}

it('a host that is named as ever other relays is not dialled without end', { timeout: 60_000 }, async () => {
  const { deployment } = await meeting.peer('alice');
  const warm = vi.spyOn(RelayLink.prototype, 'warm');
  const known = 2 * LIMITS.relaysPerDeployment;
  for (let offered = 0; offered < 2 * known; offered++) (await offerRelay()).close();
  const last = await offerRelay();
  meeting.onClose(() => last.close());
  await deployment.resolve('nobody'); // by then the last list is here
  expect(new Set(warm.mock.contexts).size).toBeLessThanOrEqual(known);
  const dialled = () => (warm.mock.contexts as RelayLink[]).filter(({ url }) => url === 'http://127.0.0.1:1');
  const before = new Set(dialled()).size;
  await expect.poll(() => new Set(dialled()).size, { timeout: 30_000 }).toBe(before + 1);
});
