import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Whether V8 has compiled a function that was called once, in a process of its own. */
function isCompiled(before: string): boolean {
  const program = `
    import { setFlagsFromString } from 'node:v8';
    import { compileAtOnce } from './src/cli/compile.ts';
    setFlagsFromString('--allow-natives-syntax');
    ${before}
    const once = new Function('return 1');
    once();
    console.log(new Function('it', 'return %ActiveTierIsSparkplug(it)')(once));`;
  const args = ['--import', './scripts/ts.mjs', '--input-type=module', '--eval', program];
  return execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' }).trim() === 'true';
}

it('compiles what is called for the first time, where V8 would interpret it', () => {
  expect(isCompiled('')).toBe(false);
  expect(isCompiled('compileAtOnce();')).toBe(true);
});
