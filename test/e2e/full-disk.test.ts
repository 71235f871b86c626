import { appendFileSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi, type TestContext } from 'vitest';
import { Stage, type RunOptions } from './commands.ts';
import { canMount, Disk, PAGE } from './full-disk.ts';
import { complaintIn, complaintOf } from './plain.ts';

/** A test whose commands see a small disk beside the temporary folders of their stage. */
function onDisk(act: (stage: Stage, disk: Disk) => Promise<void>): (context: TestContext) => Promise<void> {
  return async ({ onTestFinished }) => {
    const disk = await Disk.mount();
    const stage = new Stage(disk.start);
    onTestFinished(async () => {
      await stage.close();
      await disk.unmount();
    });
    await act(stage, disk);
  };
}

/** So many bytes of comment lines. */
function comments(length: number): string {
  return `#${' '.repeat(length - 2)}\n`;
}

describe.runIf(canMount)('on a disk that is full or read-only (needs mounts of its own)', () => {
  it(
    'a rule is on the allow list whole or not at all',
    onDisk(async (stage, disk) => {
      const friend = await stage.id('friend');
      const home = join(disk.folder, 'home');
      const run = (...args: string[]) => stage.run('peer', [...args, '--home', home, '--json']).ended;
      await run('id');
      const allow = join(disk.here, 'home/allow');
      // Ten bytes of the rule still have room.
      writeFileSync(allow, comments(PAGE - 10), { mode: 0o600 });
      const makeRoom = disk.fill();
      for (const args of [
        ['allow', `${friend}=web`],
        ['deny', friend],
      ]) {
        const complaint = await complaintOf(stage, 'peer', [...args, '--home', home]);
        expect(complaint).toMatchObject({ status: 1, code: 'DISK_FULL' });
        expect(complaint.text).toMatch(/can't write .*allow \(ENOSPC\); make room/);
      }
      expect(statSync(allow).size).toBe(PAGE - 10);
      makeRoom();
      expect(await run('allow', `${friend}=web`)).toMatchObject({ status: 0 });
      expect(readFileSync(allow, 'utf8').split('\n').at(-2)).toBe(`${friend}=web`);
    }),
  );

  it(
    'an invite whose guest can’t be put on the allow list can be used again',
    onDisk(async (stage, disk) => {
      const { url } = await stage.rendezvous();
      const home = join(disk.folder, 'home');
      const bob = (...args: string[]) =>
        stage.run('peer', [...args, '--home', home, '--rendezvous', url, '--json']);
      const up = bob('up');
      await up.event('up');
      const invites = join(disk.here, 'home/invites');
      const { stdout } = await bob('invite').ended;
      const { invite } = JSON.parse(stdout.toString()) as { invite: string };
      const allow = join(disk.here, 'home/allow');
      writeFileSync(allow, comments(80), { mode: 0o600 });
      const release = disk.protect('home/allow');
      expect(await stage.peer('alice', 'join', invite).ended).toMatchObject({ status: 1 });
      const error = { code: 'CONFIG_INVALID', message: expect.stringMatching(/allow \(EROFS\)/) as string };
      expect(await up.event('error')).toMatchObject(error);
      release();
      expect(await stage.peer('alice', 'join', invite).ended).toMatchObject({ status: 0 });
      expect(readFileSync(allow, 'utf8')).toContain(await stage.id('alice'));
      expect(readdirSync(invites)).toEqual([]);
    }),
  );

  it(
    'a report that was printed in part has failed',
    onDisk(async (stage, disk) => {
      const report = join(disk.here, 'report');
      writeFileSync(report, comments(PAGE - 10));
      disk.fill();
      const command = stage.run('peer', ['id', '--home', stage.home('alice')], {
        start: redirected(disk, `>>${join(disk.folder, 'report')}`),
      });
      expect(await complaintIn(command)).toMatchObject({ status: 1, code: 'DISK_FULL' });
      expect(statSync(report).size).toBe(PAGE);
    }),
  );

  it(
    'a log breaks off, and goes on with a line of its own once there is room',
    onDisk(async (stage, disk) => {
      const log = join(disk.here, 'log');
      const lines = () => readFileSync(log, 'utf8').trim().split('\n');
      writeFileSync(log, '');
      const where = ['--home', stage.home('r'), '--listen', '127.0.0.1:0', '--stun-port', '0'];
      stage.run('rendezvous', ['start', ...where, '--insecure', '--open', '--json'], {
        start: redirected(disk, `2>>${join(disk.folder, 'log')}`),
      });
      await vi.waitFor(() => expect(statSync(log).size).toBeGreaterThan(0), 15_000);
      const { join: url } = JSON.parse(lines()[0]!) as { join: string };
      appendFileSync(log, comments(PAGE - 10 - statSync(log).size));
      const makeRoom = disk.fill();
      await stage.peer('alice', 'join', url).ended;
      await vi.waitFor(() => expect(statSync(log).size).toBe(PAGE), 15_000);
      makeRoom();
      await stage.peer('bob', 'join', url).ended;
      const bob = await stage.id('bob');
      await vi.waitFor(() => expect(JSON.parse(lines().at(-1)!)).toMatchObject({ id: bob }), 15_000);
      const torn = lines().filter((line) => line.startsWith('{') && !line.endsWith('}'));
      expect(torn).toEqual(['{"event":"']);
    }),
  );

  it(
    'a peer that can’t keep the key of its rendezvous says so',
    onDisk(async (stage, disk) => {
      const { url } = await stage.rendezvous();
      const home = join(disk.folder, 'home');
      await stage.run('peer', ['id', '--home', home]).ended;
      const up = ['up', '--home', home, '--rendezvous', url];
      disk.fill();
      expect(await complaintOf(stage, 'peer', up)).toMatchObject({ status: 1, code: 'DISK_FULL' });
      disk.makeReadOnly();
      expect(await complaintOf(stage, 'peer', up)).toMatchObject({ status: 2, code: 'CONFIG_INVALID' });
    }),
  );

  it(
    'a peer can be reached, though its status can’t be asked for',
    onDisk(async (stage, disk) => {
      const { join: url } = await stage.rendezvous();
      const home = join(disk.folder, 'home');
      const { stdout } = await stage.run('peer', ['id', '--home', home]).ended;
      disk.makeReadOnly();
      const args = ['up', '--home', home, '--allow', 'any', '--json', '--rendezvous', url];
      const up = stage.run('peer', args);
      expect(await up.event('no-status')).toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringMatching(/agents.*EROFS/) as string,
      });
      await up.event('up');
      const id = stdout.toString().trim();
      const ping = stage.peer('alice', 'ping', id, '-c', '1', '--rendezvous', url);
      expect(await ping.ended).toMatchObject({ status: 0 });
      expect(await up.stop()).toMatchObject({ status: 0 });
    }),
  );
});

function redirected(disk: Disk, where: string): RunOptions['start'] {
  return (file, args, options) =>
    disk.start!('sh', ['-c', `exec "$0" "$@" ${where}`, file, ...args], options);
}
