import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { issueTicket } from '../../src/core/protocol/ticket.ts';
import type { Leg } from '../../src/net/circuit.ts';
import { Front } from '../../src/net/front.ts';
import { RelayLink } from '../../src/net/relay-link.ts';
import { CircuitServer } from '../../relay/circuit-server.ts';
import { freshIdentity } from '../rendezvous/deployment.ts';

const HOUR_MS = 3_600_000;
const WAITING_LEG_MS = 500;
const [rendezvous, relay] = [freshIdentity(), freshIdentity()];
const [alice, bob] = [freshIdentity(), freshIdentity()];

/** What the rendezvous tells of its clock: it was set while it was restarted, and the relay was not. */
let ahead = 0;
let front: Front;
let server: CircuitServer;
let link: RelayLink;
beforeEach(async () => {
  ahead = 0;
  front = await Front.listen({ host: '127.0.0.1', port: 0, about: '' });
  const now = () => performance.now() + 10 * HOUR_MS + ahead;
  const limits = { waitingLegMs: WAITING_LEG_MS };
  server = new CircuitServer(front, { relay: relay.id, rendezvous: () => rendezvous.id, now, limits });
  link = new RelayLink({ url: `http://127.0.0.1:${front.endpoint.port}`, environment: {} });
});
afterEach(async () => {
  link.close();
  server.close();
  await front.close();
});

function open(leg: 0 | 1, circuit: Uint8Array): Promise<Leg> {
  const peer = leg === 0 ? alice : bob;
  const expires = performance.now() + 10 * HOUR_MS + ahead + 60_000;
  const fields = { circuit, leg, peer: peer.id, relay: relay.id, expires, bytesPerSecond: 0 };
  return link.open(issueTicket(rendezvous, fields), peer);
}

it('circuits live on when the rendezvous has a later time', async () => {
  const circuit = new Uint8Array(randomBytes(16));
  const legs = await Promise.all([open(0, circuit), open(1, circuit)]);
  for (const { pipe } of legs) pipe.on('error', () => undefined);
  ahead = HOUR_MS;
  await sleep(2_500); // it looks every second for those that are idle
  expect(legs.map(({ pipe }) => pipe.destroyed)).toEqual([false, false]);
});

it('a leg doesn’t wait for longer when the rendezvous has an earlier time', async () => {
  const first = await open(0, new Uint8Array(randomBytes(16)));
  ahead = -HOUR_MS;
  const second = await open(0, new Uint8Array(randomBytes(16)));
  const closed = [first, second].map(
    ({ pipe }) =>
      new Promise((resolve) =>
        pipe
          .on('error', () => undefined)
          .once('close', resolve)
          .resume(),
      ),
  );
  await Promise.all(closed);
  expect(server.size).toBe(0);
}, 10_000);
