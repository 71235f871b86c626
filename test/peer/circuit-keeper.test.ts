import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { CircuitKeeper, type CircuitPath } from '../../peer/circuit-keeper.ts';
import { issueTicket } from '../../src/core/protocol/ticket.ts';
import { SessionKeys } from '../../src/core/session/keys.ts';
import { systemClock } from '../../src/net/clock.ts';
import { loadIdentity } from '../../src/net/identity-file.ts';
import { serverTime } from '../../src/net/server-clock.ts';
import { TestDeployment } from '../rendezvous/deployment.ts';
import { ManualClock } from './manual-clock.ts';
import { Middlebox } from '../relay/middlebox.ts';
import { freshIdentity } from './meeting.ts';

const firstKeys = SessionKeys.first({
  splitKeys: new Uint8Array(64).fill(1),
  hash: new Uint8Array(64).fill(2),
});
const laterKeys = firstKeys.next({ splitKeys: new Uint8Array(64).fill(3), hash: new Uint8Array(64) });

/** A keeper whose rendezvous answers with no tickets as long as there is no relay, and what came of it. */
function keeper() {
  const [identity, relay, rendezvous] = Array.from({ length: 3 }, freshIdentity);
  const clock = new ManualClock();
  const failures: string[] = [];
  let asked = 0;
  let tickets: Uint8Array[] = [];
  const kept: CircuitKeeper = new CircuitKeeper(
    {
      identity: identity!,
      role: 'initiator',
      keys: firstKeys,
      clock,
      link: () => undefined,
      serverTime: () => clock.now(),
      renew: () => {
        asked++;
        setImmediate(() => kept.take(tickets));
      },
      onPath: () => {},
      onFailure: ({ message }) => failures.push(message),
    },
    [],
  );
  const comeBack = () => {
    const expires = clock.now() + 120_000;
    const to = { circuit: new Uint8Array(16), leg: 0 as const, peer: identity!.id, relay: relay!.id };
    tickets = [issueTicket(rendezvous!, { ...to, expires, bytesPerSecond: 0 })];
  };
  const pass = async (seconds: number) => {
    await clock.pass(1_000 * seconds);
    for (let turns = 0; turns < 100; turns++) await turn();
  };
  return { kept, failures, comeBack, pass, asked: () => asked };
}

it('where there is no relay, tickets are asked for a few times a minute, and taken when there is one', async () => {
  const { kept, failures, comeBack, pass, asked } = keeper();
  await pass(60);
  expect(asked()).toBeLessThan(5); // it may be a stranger's
  kept.confirm();
  await pass(60);
  expect(asked()).toBeGreaterThan(1);
  expect(asked()).toBeLessThan(10);
  expect(failures).toEqual([]);
  comeBack();
  await pass(20);
  expect(failures).toContain('the ticket is for a relay that is not known here'); // so it was to be dialled
  kept.stop();
});

it('a circuit that is cut off as soon as it is there is dialled more and more seldom', async () => {
  const deployment = await TestDeployment.start();
  const relay = loadIdentity(join(deployment.home, 'rendezvous.key'));
  const circuit = new Uint8Array(randomBytes(16));
  let circuits = 0;
  const kept = (['initiator', 'responder'] as const).map((role, index) => {
    const identity = freshIdentity();
    const leg = index === 0 ? 0 : 1;
    const expires = serverTime() + 60_000;
    const to = { circuit, leg, peer: identity.id, relay: relay.id, expires, bytesPerSecond: 0 } as const;
    const link = deployment.link();
    const options = {
      identity,
      role,
      keys: firstKeys,
      clock: systemClock,
      link: () => link,
      serverTime,
      renew: () => {},
      onPath: ({ pipe }: CircuitPath) => {
        circuits++;
        pipe.on('error', () => {});
        setTimeout(() => pipe.destroy(), 20);
      },
      onFailure: () => {},
    };
    return new CircuitKeeper(options, [issueTicket(relay, to)]);
  });
  for (const each of kept) each.confirm();
  await sleep(3_000);
  for (const each of kept) each.stop();
  await deployment.close();
  expect(circuits).toBeGreaterThan(2);
  expect(circuits).toBeLessThan(16);
});

/**
 * The two ends of a circuit that two relays may carry; the second is reached through a middlebox by the initiator.
 * @param reaches whether an end gets to a relay, both by number; `reach.is` from then on
 */
async function meetingAtTwoRelays(
  reaches: (end: number, relay: number) => boolean = () => true,
  keys = firstKeys,
) {
  const deployments = [await TestDeployment.start(), await TestDeployment.start()];
  const relays = deployments.map(({ home }) => loadIdentity(join(home, 'rendezvous.key')));
  const box = await Middlebox.start(deployments[1]!.server.url, {});
  const circuit = new Uint8Array(randomBytes(16));
  const paths: [CircuitPath[], CircuitPath[]] = [[], []];
  const reach = { is: reaches };
  const kept = (['initiator', 'responder'] as const).map((role, end) => {
    const identity = freshIdentity();
    const leg = end === 0 ? 0 : 1;
    const expires = serverTime() + 60_000;
    const tickets = relays.map((relay) =>
      issueTicket(relay, { circuit, leg, peer: identity.id, relay: relay.id, expires, bytesPerSecond: 0 }),
    );
    const links = [deployments[0]!.link(), deployments[1]!.link(end === 0 ? box.url : undefined)];
    const link = (id: string) => {
      const relay = relays.findIndex((each) => each.id === id);
      return reach.is(end, relay) ? links[relay] : undefined;
    };
    const onPath = (path: CircuitPath) => {
      path.pipe.on('error', () => {}).resume();
      paths[end]!.push(path);
    };
    const rest = { keys, clock: systemClock, serverTime, renew: () => {}, onFailure: () => {} };
    return new CircuitKeeper({ identity, role, link, onPath, ...rest }, tickets);
  });
  for (const each of kept) each.confirm();
  const close = async () => {
    for (const each of kept) each.stop();
    await box.close();
    for (const each of deployments) await each.close();
  };
  return { paths, reach, box, close, circuits: () => paths.map(({ length }) => length) };
}

it('a circuit that one end alone has lost is dialled anew where it stood, since the other end is still there', async () => {
  const { paths, reach, box, close, circuits } = await meetingAtTwoRelays((_end, relay) => relay === 1);
  await expect.poll(circuits).toEqual([1, 1]);
  reach.is = () => true;
  box.forget();
  paths[0][0]!.pipe.write('x');
  await expect.poll(circuits, { timeout: 5_000 }).toEqual([2, 2]);
  await close();
});

it('two ends that wait for one another at two relays meet soon', { timeout: 30_000 }, async () => {
  const { paths, reach, close, circuits } = await meetingAtTwoRelays();
  await expect.poll(circuits).toEqual([1, 1]);
  let failures = 0;
  reach.is = (end, relay) => end === 0 || relay === 1 || ++failures > 1;
  for (const [path] of paths) path!.pipe.destroy();
  await expect.poll(circuits, { timeout: 9_000 }).toEqual([2, 2]);
  await close();
});

it('two ends whose session goes on with new keys meet as soon, where the first leg of one met an older one', async () => {
  let failures = 0;
  const fails = (end: number, relay: number) => end === 1 && relay === 1 && failures++ === 0;
  const { close, circuits } = await meetingAtTwoRelays((end, relay) => !fails(end, relay), laterKeys);
  await expect.poll(circuits, { timeout: 9_000 }).toEqual([1, 1]);
  await close();
});
