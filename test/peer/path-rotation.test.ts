import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Punching } from '../../peer/punching.ts';
import type { Session } from '../../peer/session.ts';
import type { Peer } from '../../src/index.ts';
import { UdpSocket } from '../../src/net/udx.ts';
import { Meeting } from './meeting.ts';

const patience = { timeout: 30_000 };

let meeting: Meeting;
let [alice, bob]: Peer[] = [];
beforeEach(async () => {
  meeting = await Meeting.start();
  bob = await meeting.peer('bob', ['any']);
  alice = await meeting.peer('alice');
  bob.handle('echo', (stream) => stream.pipe(stream));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await meeting.close();
});

/** Where a session's direct paths lead, and from where. */
function directPaths({ paths }: Session): string[] {
  return paths.filter(({ direct }) => direct).map(({ local, remote }) => `${local} ${remote}`);
}

describe('a path by UDP that is replaced', () => {
  it('gives way to one from another port at each end, and the streams go on', async () => {
    const rounds = vi.spyOn(Punching.prototype, 'begin');
    const session = await alice!.connect(bob!.id, { paths: ['udp', 'relay'] });
    const theirs = bob!.sessions[0]!;
    await Promise.all([session.whenDirect(), theirs.whenDirect()]);
    const before = [session, theirs].map((end) => directPaths(end)[0]);
    const used: string[] = [];
    for (const end of [session, theirs]) {
      end.on('path', ({ state, kind }) => state === 'active' && used.push(kind));
    }
    const stream = await session.open('echo');
    const sent = randomBytes(300_000);
    stream.write(sent.subarray(0, 100_000));
    const opened = vi.spyOn(UdpSocket, 'open');
    await (rounds.mock.contexts[0] as Punching).rotate();
    stream.write(sent.subarray(100_000, 200_000));
    const isReplaced = () =>
      [session, theirs].every((end, index) => {
        const paths = directPaths(end);
        return paths.length === 1 && paths[0] !== before[index];
      });
    await expect.poll(isReplaced, patience).toBe(true);
    stream.end(sent.subarray(200_000));
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).equals(sent)).toBe(true);
    expect(new Set(used)).toEqual(new Set(['udp']));
    expect(opened).toHaveBeenCalledTimes(2); // one at each end, however often that was told
  });
});
