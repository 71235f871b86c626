import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { Stage } from './commands.ts';
import { complaintIn, complaintOf, staged } from './plain.ts';

vi.setConfig({ testTimeout: 120_000 });

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** A rendezvous, and somebody who takes files into `dir`. */
async function receiving(stage: Stage, ...args: string[]) {
  const { url } = await stage.rendezvous();
  const dir = join(stage.folder, 'in');
  const id = await stage.id('bob');
  const start = () =>
    stage.peer('bob', 'receive', '--dir', dir, '--allow', 'any', '--rendezvous', url, ...args);
  const receiver = start();
  await receiver.event('up');
  return { url, dir, id, receiver, start };
}

describe.concurrent('peer send', () => {
  it(
    'brings folders and files to `peer receive`, and tells of progress and of each file',
    staged(async (stage) => {
      const { url, dir, id, receiver } = await receiving(stage, '--once');
      const from = join(stage.folder, 'photos');
      mkdirSync(join(from, 'deep/er'), { recursive: true });
      writeFileSync(join(from, 'deep/er/one'), randomBytes(1_000));
      const big = join(stage.folder, 'big');
      writeFileSync(big, randomBytes(300_000_000));
      const sender = stage.peer('alice', 'send', id, from, big, '--rendezvous', url);
      const { status, events } = await sender.ended;
      expect(status).toBe(0);
      expect(sha256(join(dir, 'photos/deep/er/one'))).toBe(sha256(join(from, 'deep/er/one')));
      expect(sha256(join(dir, 'big'))).toBe(sha256(big));
      const progress = events.find(({ event }) => event === 'progress');
      expect(progress).toMatchObject({
        total: 300_001_000,
        path: expect.stringMatching(/^(relay-|udp|tcp)/),
      });
      expect(progress).toMatchObject({ bytes: expect.any(Number), rate: expect.any(Number) });
      expect(events.filter(({ event }) => event === 'file').map(({ path }) => path)).toEqual([
        'photos',
        'photos/deep',
        'photos/deep/er',
        'photos/deep/er/one',
        'big',
      ]);
      expect(events).toContainEqual(expect.objectContaining({ event: 'sent', entries: 5, inPlace: 5 }));
      expect((await receiver.ended).status).toBe(0);
      expect(receiver.events).toContainEqual(expect.objectContaining({ event: 'received', files: 2 }));
    }),
  );

  it(
    'goes on where it stopped after the receiver was killed',
    staged(async (stage) => {
      const { url, dir, id, receiver, start } = await receiving(stage);
      const big = join(stage.folder, 'big');
      writeFileSync(big, randomBytes(500_000_000));
      const sender = stage.peer('alice', 'send', id, big, '--rendezvous', url);
      await sender.event('progress', ({ bytes }) => Number(bytes) > 50_000_000);
      await receiver.stop('SIGKILL');
      await sender.stop('SIGKILL');
      const [part] = readdirSync(dir);
      expect(part).toMatch(/^big\..*\.part$/);
      const kept = statSync(join(dir, part!)).size;
      expect(kept).toBeGreaterThan(0);

      await start().event('up');
      const again = await stage.peer('alice', 'send', id, big, '--rendezvous', url).ended;
      expect(again.status).toBe(0);
      expect(again.events).toContainEqual(
        expect.objectContaining({ event: 'file', path: 'big', state: 'saved', resumedAt: kept }),
      );
      expect(readdirSync(dir)).toEqual(['big']);
      expect(sha256(join(dir, 'big'))).toBe(sha256(big));
    }),
  );

  it(
    'has failed where it was stopped before the end, for whoever removes what was sent',
    staged(async (stage) => {
      const { url, id } = await receiving(stage);
      const big = join(stage.folder, 'big');
      writeFileSync(big, randomBytes(500_000_000));
      const sender = stage.peer('alice', 'send', id, big, '--rendezvous', url);
      await sender.event('progress');
      expect(await sender.stop('SIGINT')).toMatchObject({ status: 1 });
      const error = await sender.event('error');
      expect(error).toMatchObject({ code: 'ABORTED', hint: expect.stringContaining('run it again') });
    }),
  );

  it(
    'says in one line what can not be sent, and what to do',
    staged(async (stage) => {
      const { url, dir, id } = await receiving(stage);
      const file = join(stage.folder, 'file');
      writeFileSync(file, 'mine');
      writeFileSync(join(dir, 'file'), 'theirs');
      const send = (...args: string[]) =>
        complaintOf(stage, 'peer', ['send', ...args, '--home', stage.home('alice'), '--rendezvous', url]);
      const missing = await send(id, join(stage.folder, 'nothing'));
      expect(missing).toMatchObject({ status: 1, code: 'FILE_FAILED' });
      expect(missing.text).toMatch(/nothing: there is no such file/);
      const exists = await send(id, file);
      expect(exists).toMatchObject({ status: 1, code: 'FILE_EXISTS' });
      expect(exists.text).toMatch(/another file; there: move it away, or receive with --overwrite/);
      const twice = await send(id, file, join(dir, 'file'));
      expect(twice).toMatchObject({ status: 2, code: 'USAGE' });
      expect(twice.text).toMatch(/called "file"; rename one/);
      expect(readFileSync(join(dir, 'file'), 'utf8')).toBe('theirs');

      const up = stage.peer('carol', 'up', '--allow', 'any', '--rendezvous', url);
      await up.event('up');
      const refused = await send(await stage.id('carol'), file);
      expect(refused).toMatchObject({
        code: 'SERVICE_UNKNOWN',
        text: expect.stringContaining('peer receive'),
      });
    }),
  );

  it(
    'is told that the disk is full, keeps what fits, and goes on once there is room',
    staged(async (stage) => {
      const small = join(stage.folder, 'in');
      mkdirSync(small);
      const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', small]).status === 0;
      if (!mounted) return; // only root may
      try {
        const { url, dir, id } = await receiving(stage);
        const big = join(stage.folder, 'big');
        writeFileSync(big, randomBytes(8_000_000));
        const args = ['send', id, big, '--home', stage.home('alice'), '--rendezvous', url];
        const full = stage.run('peer', args);
        expect(await complaintIn(full)).toMatchObject({ status: 1, code: 'DISK_FULL' });
        expect((await full.ended).stderr).toMatch(/^failed: big: the disk is full$/m);
        expect(readdirSync(dir)).toEqual([expect.stringMatching(/\.part$/)]);
        spawnSync('mount', ['-o', 'remount,size=16m', small]);
        const { status, stderr } = await stage.run('peer', args).ended;
        expect(status).toBe(0);
        expect(stderr).toMatch(/^session with \S+ closed$/m);
        expect(sha256(join(dir, 'big'))).toBe(sha256(big));
      } finally {
        spawnSync('umount', ['-l', small]);
      }
    }),
  );
});
