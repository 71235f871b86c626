// npm test: makes the clone ready, checks the sources, runs every test.
//   npm test -- [what vitest takes: files, -t name]
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { bootstrap } from './bootstrap.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
bootstrap({ system: true, build: true });

const asked = process.argv.slice(2);
if (asked.length === 0) step('npm', ['run', '--silent', 'check']);
step(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...asked]);

function step(command, args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
