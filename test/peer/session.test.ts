import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { Session } from '../../peer/session.ts';
import type { MessagePort } from '../../peer/session-datagrams.ts';
import { identityFromSeed } from '../../src/core/identity.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { SessionKeys } from '../../src/core/session/keys.ts';
import type { SessionRole } from '../../src/core/session/role.ts';
import { systemClock } from '../../src/net/clock.ts';
import { memoryPair } from '../net/pipes.ts';

const keys = SessionKeys.first({ splitKeys: new Uint8Array(64).fill(1), hash: new Uint8Array(64).fill(2) });
const sessions: Session[] = [];

afterEach(() => {
  for (const session of sessions.splice(0)) session.driver.destroy();
});

/** One end of what carries messages; they arrive in a later turn. */
class Port extends EventEmitter<{ message: [Uint8Array] }> implements MessagePort {
  readonly maxMessageBytes = 1_200;
  other: Port | undefined;
  sent = 0;

  sendMessage(bytes: Uint8Array): void {
    this.sent += 1;
    if (this.sent % 3 === 0) return;
    setImmediate(() => this.other?.emit('message', bytes));
  }
}

function end(role: SessionRole): Session {
  const peer = identityFromSeed(new Uint8Array(32).fill(3)).id;
  const kinds = ['udp', 'relay'] as const;
  const session = new Session({ role, id: new Uint8Array(16), peer, keys, kinds, clock: systemClock });
  sessions.push(session);
  return session;
}

/** Loses what is written from now on until `release` is called, as udx does until it repeats it. */
function holdable(pipe: Duplex): { pipe: Duplex; hold: () => void; release: () => void } {
  const held: Buffer[] = [];
  let holding = false;
  const outer = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      if (holding) held.push(chunk);
      else pipe.write(chunk);
      done();
    },
    destroy(error, done) {
      pipe.destroy();
      done(error);
    },
  });
  pipe.on('data', (chunk: Buffer) => outer.push(chunk));
  pipe.on('error', () => {});
  const release = () => {
    holding = false;
    for (const chunk of held.splice(0)) pipe.write(chunk);
  };
  return { pipe: outer, hold: () => (holding = true), release };
}

it('stays on a path by UDP whose stream is held up by loss, since the other end answers beside it', async () => {
  const [alice, bob] = [end('initiator'), end('responder')];
  const [relayed, direct] = [memoryPair(), memoryPair()];
  const [here, there] = [new Port(), new Port()];
  [here.other, there.other] = [there, here];
  const lossy = holdable(direct.near);
  const path = { kind: 'udp', local: undefined, remote: 'x', technique: 'x', lan: false, rttMs: 1 } as const;
  for (const [session, pipe, udp, messages] of [
    [alice, relayed.near, lossy.pipe, here],
    [bob, relayed.far, direct.far, there],
  ] as const) {
    session.addCircuit({ kind: 'relay-h1', pipe, remote: 'x' });
    session.addDirectPath({ ...path, pipe: udp, messages });
  }
  await expect.poll(() => alice.path?.kind).toBe('udp');
  await sleep(100); // the first pings are over
  const moves: string[] = [];
  alice.on('path', ({ kind, state }) => moves.push(`${kind} ${state}`));
  lossy.hold();
  const stream = alice.driver.open(new Uint8Array(0));
  stream.on('error', () => {}); // it is for nothing that bob knows
  stream.write('x');
  await sleep(2_500);
  expect(moves).toEqual([]);
  expect(here.sent).toBeGreaterThan(5);
  lossy.release();
  await sleep(500);
  const checks = here.sent;
  await sleep(500);
  expect(here.sent).toBe(checks);
  expect(moves).toEqual([]);
});

it.each(['timeout', 'timeoutMs'])('waits for an answer to a ping as long as %s says', async (name) => {
  const [alice, bob] = [end('initiator'), end('responder')];
  const { near, far } = memoryPair();
  const { pipe, hold } = holdable(near);
  const path = { kind: 'udp', local: undefined, remote: 'x', technique: 'x', lan: false, rttMs: 1 } as const;
  alice.addDirectPath({ ...path, pipe, abandon: undefined, messages: undefined });
  bob.addDirectPath({ ...path, pipe: far, abandon: undefined, messages: undefined });
  await expect.poll(() => alice.path?.state).toBe('active');
  expect(await alice.ping({ [name]: 60_000 })).toMatchObject({ path: { direct: true } });
  hold();
  const late = { code: 'TIMEOUT', message: 'no answer to a ping in 50 ms' };
  await expect(alice.ping({ [name]: 50 })).rejects.toMatchObject(late);
});

it('has so many direct paths and no more, the newest and the one in use among them', async () => {
  const [alice, bob] = [end('initiator'), end('responder')];
  const path = { kind: 'udp', local: undefined, remote: 'x', technique: 'x', lan: false, rttMs: 1 } as const;
  // On a busy machine another one may be the quicker one for a while, and be moved to.
  let inUse: number | undefined;
  const left: { id: number; wasInUse: boolean }[] = [];
  alice.driver.on('path', ({ path: { id }, state }) => {
    if (state === 'active') inUse = id;
    if (state === 'down') left.push({ id, wasInUse: id === inUse });
  });
  for (let count = 1; count <= LIMITS.directPaths + 4; count++) {
    const { near, far } = memoryPair();
    alice.addDirectPath({ ...path, pipe: near, abandon: undefined, messages: undefined });
    bob.addDirectPath({ ...path, pipe: far, abandon: undefined, messages: undefined });
    await expect.poll(() => alice.paths.length).toBe(Math.min(count, LIMITS.directPaths));
  }
  expect(left).toHaveLength(4);
  expect(left.filter(({ id, wasInUse }) => wasInUse || id > 5)).toEqual([]);
  expect(alice.path).toMatchObject({ direct: true, state: 'active' });
  await expect(alice.ping()).resolves.toMatchObject({ path: { direct: true } });
});
