import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const module = new URL('../../scripts/bench/temporary.mjs', import.meta.url);

const PROGRAM = `
const { temporaryFolder } = await import('${module.href}');
process.stdout.write(temporaryFolder());
setInterval(() => {}, 1_000);
`;

describe('a temporary folder of a benchmark', () => {
  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('goes with its process, also by %s', async (signal) => {
    const args = ['--input-type=module', '-e', PROGRAM];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const [path] = (await once(child.stdout, 'data')) as [Buffer];
    expect(existsSync(path.toString())).toBe(true);
    child.kill(signal);
    await once(child, 'exit');
    expect(existsSync(path.toString())).toBe(false);
  });
});
