import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What a process of its own prints, that knows which of Node's modules were compiled anew. */
function run(program: string): unknown {
  const preamble = `
    import { createRequire } from 'node:module';
    import { tuneOnceUp } from './src/cli/once-up.ts';
    const { internalBinding } = createRequire('/')('internal/test/binding');
    const anew = () => [...internalBinding('builtins').getCacheUsage().compiledWithoutCache];`;
  const args = [
    '--expose-internals',
    '--no-warnings',
    '--import',
    './scripts/ts.mjs',
    '--input-type=module',
    '--eval',
  ];
  const said = execFileSync(process.execPath, [...args, preamble + program], { cwd: root, encoding: 'utf8' });
  return JSON.parse(said);
}

it('lets Node take what it has compiled of its own modules, at a command’s start and for its sessions', () => {
  const [atStart, later] = run(`
    tuneOnceUp();
    await import('node:http2');
    const atStart = anew();
    setTimeout(async () => {
      await import('node:tls');
      console.log(JSON.stringify([atStart, anew()]));
    }, 1500);`) as string[][];
  expect(atStart).not.toContain('http2');
  expect(later).not.toContain('tls');
});

it('has V8 compile at once what runs for the first time later', () => {
  const compiled = run(`
    import { setFlagsFromString } from 'node:v8';
    setFlagsFromString('--allow-natives-syntax');
    tuneOnceUp();
    const tier = (it) => new Function('it', 'it(); return %ActiveTierIsSparkplug(it)')(it);
    const first = tier(new Function('return 1'));
    setTimeout(() => console.log(JSON.stringify([first, tier(new Function('return 2'))])), 1500);`);
  expect(compiled).toEqual([false, true]);
});
