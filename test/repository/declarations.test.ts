import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { unnamedTypes } from './unnamed-types.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The declarations of the library, by way of any number of our own, and the modules of others that they import. */
function declarations(): { foreign: Set<string>; sources: string[] } {
  const foreign = new Set<string>();
  const sources: string[] = [];
  const seen = new Set<string>();
  const read = (path: string) => {
    if (seen.has(path)) return;
    seen.add(path);
    const source = readFileSync(path, 'utf8');
    sources.push(source);
    for (const [, from = ''] of source.matchAll(/(?:from |import\()'([^']+)'/g)) {
      if (from.startsWith('.')) read(resolve(dirname(path), from.replace(/\.ts$/, '.d.ts')));
      else if (!from.startsWith('node:')) foreign.add(from);
    }
  };
  read(join(root, 'dist/src/index.d.ts'));
  return { foreign, sources };
}

/** What `skipLibCheck` hides: @types and declarations of our own are here, and not where the package is installed. */
it('the declarations need no types but those of Node and of dependencies that bring their own', () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of declarations().foreign) {
    expect(dependencies).toHaveProperty(name);
    const folder = join(root, 'node_modules', name);
    const { types } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { types?: string };
    expect([name, existsSync(join(folder, types ?? 'none'))]).toEqual([name, true]);
  }
});

it('the declarations name no type that TypeScript has known only since 5.7', () => {
  const { sources } = declarations();
  expect(sources.length).toBeGreaterThan(10);
  expect(sources.filter((source) => /\b(Uint8Array|Buffer)</.test(source))).toEqual([]);
});

it('every type that a public name is declared with has a public name itself', () => {
  expect(unnamedTypes(join(root, 'dist/src/index.d.ts'))).toEqual([]);
});
