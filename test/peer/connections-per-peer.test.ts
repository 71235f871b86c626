import { once } from 'node:events';
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest';
import { formatEndpoint } from '../../src/core/endpoint.ts';
import { LIMITS } from '../../src/core/limits.ts';
import type { Session, StreamRecord } from '../../src/index.ts';
import { silentEndpoint } from '../net/silent-endpoint.ts';
import { Meeting } from './meeting.ts';

let meeting: Meeting;
beforeEach(async () => {
  meeting = await Meeting.start();
});
afterEach(() => meeting.close());

it('gives the sessions of one peer together no more connections to targets than one of them may have', async () => {
  const silent = await silentEndpoint(); // dialled for ten seconds
  onTestFinished(silent.close);
  const bob = await meeting.peer('bob', ['any']);
  bob.expose('silent', formatEndpoint(silent.remote));
  const alice = await meeting.peer('alice');
  const carol = await meeting.peer('carol');
  const open = async (session: Session) => {
    const stream = await session.open('silent');
    return stream.on('error', () => {});
  };
  bob.handle('last', (stream) => stream.end('x'));
  const taken = async (session: Session) => {
    const stream = await session.open('last');
    stream.end();
    await once(stream.resume(), 'close');
  };
  const refused: StreamRecord[] = [];
  bob.on('stream', (record) => record.reason === 'LIMIT' && refused.push(record));

  const [first, second] = [await alice.connect(bob.id), await alice.connect(bob.id)];
  const others = await carol.connect(bob.id);
  const half = LIMITS.connectionsPerPeer / 2;
  for (const session of [first, second]) for (let count = 0; count < half; count += 1) await open(session);
  await open(first);
  await expect.poll(() => refused, { timeout: 20_000 }).toMatchObject([{ peer: alice.id, what: 'silent' }]);

  await open(others); // has its own
  await first.close();
  await open(second);
  await Promise.all([taken(second), taken(others)]);
  expect(refused).toHaveLength(1);
}, 60_000);
