import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SallyportError } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import type { ConnectOptions, Peer } from '../../src/index.ts';
import { Meeting } from './meeting.ts';

let meeting: Meeting;
let alice: Peer;
let bob: Peer;
const warnings: Error[] = [];
const warned = (warning: Error) => void warnings.push(warning);
beforeEach(async () => {
  process.on('warning', warned);
  meeting = await Meeting.start();
  alice = await meeting.peer('alice');
  bob = await meeting.peer('bob', ['any']);
  bob.handle('echo', (stream) => stream.pipe(stream));
});
afterEach(async () => {
  await meeting.close();
  process.off('warning', warned);
});

async function echoed(from = alice, options: ConnectOptions = {}): Promise<string> {
  const session = await from.connect(bob.id, options);
  const stream = await session.open('echo');
  stream.end('here');
  const answer = await text(stream);
  await session.close();
  return answer;
}

describe('sessions with one peer', () => {
  it('may begin all at once, as many as there may be', { timeout: 60_000 }, async () => {
    const answers = await Promise.all(Array.from({ length: LIMITS.sessionsPerPeer }, () => echoed()));
    expect(answers).toEqual(answers.map(() => 'here'));
    expect(warnings).toEqual([]);
  });

  it('follow one another faster than the rendezvous lets them', { timeout: 60_000 }, async () => {
    for (let n = 0; n < LIMITS.sessionsPerPeer + 8; n++) expect(await echoed()).toBe('here');
  });
});

describe('names', () => {
  /** The codes with which a hundred connections at once failed, and with which the registration did. */
  async function failures(nameOf: (n: number) => string): Promise<string[]> {
    const codes = new Set<string>();
    const failed = ({ code }: SallyportError) => void codes.add(code);
    alice.on('unregistered', ({ code }) => codes.add(`unregistered ${code}`));
    await Promise.all(Array.from({ length: 100 }, (_, n) => alice.connect(nameOf(n)).then(() => {}, failed)));
    expect(await echoed()).toBe('here');
    return [...codes].toSorted();
  }

  it('are looked up once for all sessions that begin at once', async () => {
    expect(await failures(() => 'nobody')).toEqual(['PEER_OFFLINE']);
  });

  it('beyond what the rendezvous allows are refused, and nothing else suffers', async () => {
    expect(await failures((n) => `nobody-${n}`)).toEqual(['PEER_OFFLINE', 'RATE_LIMITED']);
  });
});

describe('peers behind one address', () => {
  it(
    'are served by the hundred, each with a connection to the relay at hand',
    { timeout: 60_000 },
    async () => {
      const peers = await Promise.all(Array.from({ length: 100 }, (_, n) => meeting.peer(`peer ${n}`)));
      const answers = await Promise.all(peers.map((peer) => echoed(peer, { paths: ['relay'] })));
      expect(answers).toEqual(answers.map(() => 'here'));
      expect(warnings).toEqual([]);
    },
  );
});

describe('in one session', () => {
  const many = Array.from({ length: 200 });

  it('any number of calls may wait at once, for one signal too', { timeout: 60_000 }, async () => {
    const { signal } = new AbortController();
    const session = await alice.connect(bob.id, { signal });
    const streams = await Promise.all(many.map(() => session.open('echo', { signal })));
    await Promise.all([
      ...many.map(() => session.ping({ signal })),
      ...many.map(() => session.whenDirect({ signal })),
    ]);
    for (const stream of streams) stream.end('here');
    expect(await Promise.all(streams.map((stream) => text(stream)))).toEqual(many.map(() => 'here'));
    await Promise.all(many.map(() => session.close({ signal })));
    expect(warnings).toEqual([]);
  });
});
