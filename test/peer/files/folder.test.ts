import { createHook } from 'node:async_hooks';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { TargetFolder } from '../../../peer/files/folder.ts';

/** How often the file system is asked for something meanwhile. */
async function asked(act: () => Promise<unknown>): Promise<number> {
  let count = 0;
  const hook = createHook({
    init: (_, type) => {
      if (type === 'FSREQPROMISE') count++;
    },
  }).enable();
  await act();
  hook.disable();
  return count;
}

it('a file in a deep folder that is there costs no more than one in a shallow one', async () => {
  const root = mkdtempSync(join(tmpdir(), 'sallyport-folder-'));
  try {
    const deep = Array.from({ length: 50 }, (_, depth) => `d${depth}`);
    mkdirSync(join(root, ...deep), { recursive: true });
    const folder = await TargetFolder.open(root);
    const shallow = await asked(() => folder.place(['file'], 'tag'));
    expect(shallow).toBeGreaterThan(0);
    expect(await asked(() => folder.place([...deep, 'file'], 'tag'))).toBe(shallow);
  } finally {
    rmSync(root, { recursive: true });
  }
});
