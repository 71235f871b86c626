import { describe, expect, it } from 'vitest';
import { complaintIn, complaintOf, staged, upPeer } from './plain.ts';

describe.concurrent('peer bench', () => {
  it(
    'measures each kind of path that is asked for, both ways, idle and under load',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const { id } = await upPeer(stage, url, '--name', 'bob');
      const args = ['--rendezvous', url, '--paths', 'relay,tcp', '--seconds', '1', '--accept'];
      const { status, stdout } = await stage.peer('alice', 'bench', 'bob', ...args).ended;
      expect(status).toBe(0);
      const { peer, results } = JSON.parse(stdout.toString()) as { peer: string; results: unknown[] };
      expect(peer).toBe(id);
      const latency = { count: expect.any(Number), medianMs: expect.any(Number), p99Ms: expect.any(Number) };
      const rate = { bytes: expect.any(Number), mbitPerSecond: expect.any(Number), latency };
      const measured = { idle: { ...latency, count: 20 }, up: rate, down: rate };
      expect(results).toMatchObject([
        { asked: ['relay'], path: expect.stringMatching(/^relay-/), ...measured },
        { asked: ['tcp'], path: 'tcp', ...measured },
      ]);
      for (const { up, down } of results as { up: { bytes: number }; down: { bytes: number } }[]) {
        expect(up.bytes).toBeGreaterThan(1_000_000);
        expect(down.bytes).toBeGreaterThan(1_000_000);
      }
    }),
  );

  it(
    'that is cut off tells what it had measured by then, and, once, why it ended',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const { id, up } = await upPeer(stage, url);
      const args = ['bench', id, '--home', stage.home('alice'), '--rendezvous', url, '--seconds', '30'];
      const bench = stage.run('peer', [...args, '--paths', 'tcp']);
      await up.event('stream', ({ state }) => state === 'opened');
      await up.stop();
      const complaint = await complaintIn(bench);
      expect(complaint.status).toBe(1);
      const said = (await bench.ended).stdout.toString();
      expect(said).toMatch(/^tcp: round trip [\d.]+ ms idle\n$/);
      expect(complaint.text).not.toBe('');
    }),
  );

  it(
    'says so where no answer comes any more',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const { id, up } = await upPeer(stage, url);
      const bench = stage.peer(
        'alice',
        'bench',
        id,
        '--rendezvous',
        url,
        '--seconds',
        '30',
        '--paths',
        'relay',
      );
      const path = await bench.event('path', ({ state }) => state === 'active');
      await up.event('stream', ({ state }) => state === 'opened');
      up.child.kill('SIGSTOP');
      // A slow connection may have been waited for as well, before.
      const waiting = await bench.event('waiting', ({ ms }) => ms > path.ms);
      expect(waiting).toMatchObject({ for: 'peer' });
      up.child.kill('SIGCONT');
      await bench.stop();
    }),
  );

  it(
    'of several kinds tells of each why it could not be had, and in the end that none could',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const id = await stage.id('bob'); // who is not up
      const args = ['bench', id, '--home', stage.home('alice'), '--rendezvous', url, '--paths', 'tcp,relay'];
      const bench = stage.run('peer', args);
      const complaint = await complaintIn(bench);
      expect(complaint).toMatchObject({ status: 4, code: 'PEER_OFFLINE' });
      expect(complaint.text).toMatch(/^none of these paths could be measured; /);
      expect((await bench.ended).stdout.toString()).toMatch(
        /^tcp: PEER_OFFLINE: .+\nrelay: PEER_OFFLINE: .+\n$/,
      );
    }),
  );

  it(
    'is not for peers that are allowed something else',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const rule = `${await stage.id('alice')}=web`;
      await stage.peer('bob', 'up', '--rendezvous', url, '--allow', rule).event('up');
      const args = ['bench', await stage.id('bob'), '--home', stage.home('alice'), '--rendezvous', url];
      expect(await complaintOf(stage, 'peer', args)).toMatchObject({ status: 3, code: 'NOT_AUTHORIZED' });
    }),
  );
});
