import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TemporaryFolder } from './temporary-folder.mjs';

const module = new URL('temporary-folder.mjs', import.meta.url);

/** Makes a folder, has a child fill it, and says where it is. */
const PROGRAM = `
const { TemporaryFolder } = await import('${module.href}');
const { spawn } = await import('node:child_process');
const { path } = new TemporaryFolder('test');
const script = 'while echo x > "$1/$$.$i"; do i=$((i+1)); done';
spawn('setpriv', ['--pdeathsig', 'KILL', 'sh', '-c', script, 'sh', path], { stdio: 'ignore' });
process.stdout.write(path);
setInterval(() => {}, 1_000);
`;

describe('a temporary folder', () => {
  it.each(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGKILL'] as const)(
    'goes when %s ends the process that made it, while what that started still writes there',
    async (signal) => {
      const args = ['--input-type=module', '-e', PROGRAM];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      const [path] = (await once(child.stdout, 'data')) as [Buffer];
      expect(existsSync(path.toString())).toBe(true);
      child.kill(signal);
      await once(child, 'exit');
      await expect.poll(() => existsSync(path.toString()), { timeout: 20_000 }).toBe(false);
    },
  );

  it('is gone once it is closed, with all that is in it', async () => {
    const folder = new TemporaryFolder('test');
    writeFileSync(join(folder.path, 'file'), 'text');
    await folder.close();
    expect(existsSync(folder.path)).toBe(false);
    await folder.close();
  });
});
