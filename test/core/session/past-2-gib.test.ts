import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const PROGRAM = 'test/core/session/programs/past-2-gib.ts';

it('costs a session no compiled code to pass 2 GiB, or to send for more than five seconds', () => {
  const args = ['--trace-deopt', '--import', './scripts/ts.mjs', PROGRAM];
  const said = execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
  expect(said).toContain('bailout');
  const measured = said.slice(said.indexOf('halfway'));
  // What reads and writes single numbers may be compiled once more; sixty were while the counts, and twenty while the rates were small integers at first.
  expect(measured.split('bailout').length - 1).toBeLessThan(12);
}, 60_000);
