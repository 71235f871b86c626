import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, type TestContext } from 'vitest';
import { Stage } from './commands.ts';
import { canMount, Disk, PAGE } from './full-disk.ts';
import { complaintOf } from './plain.ts';

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
});
