import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { spawnSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('a build whose commands don’t meet', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sallyport-compile-'));
    cpSync(join(root, 'dist/src/cli'), join(folder, 'cli'), { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    mkdirSync(join(folder, 'bin'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it.each([
    ['is killed', `process.kill(process.pid, 'SIGKILL')`],
    ['fails', `console.error(JSON.stringify({ event: 'error', message: 'no network' })); process.exit(1)`],
    ['ends early', `process.exit(0)`],
  ])('goes on without compiled code where one %s', (_what, body) => {
    writeFileSync(join(folder, 'bin/rendezvous.cjs'), `(function (require, __filename) { ${body} })`);
    const program = `
      import { compileAhead } from '${new URL('../../scripts/compile-ahead.mjs', import.meta.url).href}';
      await compileAhead(${JSON.stringify(join(folder, 'bin'))});
    `;
    const args = ['--input-type=module', '-e', program];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 50_000 });
    expect(stderr).toMatch(/^the commands are not compiled ahead: (rendezvous has ended|no network)\n$/);
    expect(status).toBe(0);
  });
});
