import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The modules of others that the declarations of the library import, by way of any number of our own. */
function foreignModules(): Set<string> {
  const foreign = new Set<string>();
  const seen = new Set<string>();
  const read = (path: string) => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const [, from = ''] of readFileSync(path, 'utf8').matchAll(/(?:from |import\()'([^']+)'/g)) {
      if (from.startsWith('.')) read(resolve(dirname(path), from.replace(/\.ts$/, '.d.ts')));
      else if (!from.startsWith('node:')) foreign.add(from);
    }
  };
  read(join(root, 'dist/src/index.d.ts'));
  return foreign;
}

/** What `skipLibCheck` hides: @types and declarations of our own are here, and not where the package is installed. */
it('the declarations need no types but those of Node and of dependencies that bring their own', () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of foreignModules()) {
    expect(dependencies).toHaveProperty(name);
    const folder = join(root, 'node_modules', name);
    const { types } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { types?: string };
    expect([name, existsSync(join(folder, types ?? 'none'))]).toEqual([name, true]);
  }
});
