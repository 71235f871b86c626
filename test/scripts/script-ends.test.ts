import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';

function run(script: string, ...args: string[]) {
  return spawn(process.execPath, ['--import', './scripts/ts.mjs', script, ...args]);
}

it('the demo ends quietly when its reader does', async () => {
  const demo = run('scripts/demo.ts', '--json');
  const said = text(demo.stderr);
  demo.stdout.once('data', () => demo.stdout.destroy());
  const [status] = (await once(demo, 'exit')) as [number | null];
  expect(status).toBe(0);
  expect(await said).not.toContain('EPIPE');
}, 120_000);

it('the benchmark takes a typing error in one line', async () => {
  const bench = run('scripts/bench/main.ts', '--rnuds', '3');
  const said = text(bench.stderr);
  const [status] = (await once(bench, 'exit')) as [number | null];
  expect(status).toBe(2);
  expect(await said).toMatch(/^Unknown option '--rnuds'.*npm run bench -- /m);
  expect(await said).not.toMatch(/^\s+at /m);
}, 60_000);
