// Compiles src/ and the roles to dist/, one file each, and the commands into one executable file each. The new dist/ takes the
// place of the old one at once, so that what runs from it never sees half of one.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleCommands } from './bundle.mjs';
import { compileAhead } from './compile-ahead.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const [next, old, dist] = [`dist.next-${process.pid}`, `dist.old-${process.pid}`, 'dist'].map((name) =>
  join(root, name),
);
const compiler = join(root, 'node_modules/typescript/bin/tsc');
const args = [compiler, '-p', 'tsconfig.build.json', '--outDir', next];
const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
if (status !== 0) {
  rmSync(next, { recursive: true, force: true });
  process.exit(status ?? 1);
}
// The compiler writes out the default of a parameter that TypeScript before 5.7 doesn't know.
for (const file of readdirSync(next, { recursive: true }).filter((name) => name.endsWith('.d.ts'))) {
  const types = readFileSync(join(next, file), 'utf8');
  const plain = types.replaceAll('Uint8Array<ArrayBufferLike>', 'Uint8Array');
  if (plain !== types) writeFileSync(join(next, file), plain);
}
const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const commands = Object.values(bin).map((file) => join(next, file.replace(/^dist\//, '')));
await bundleCommands(commands, join(next, 'THIRD-PARTY-LICENSES.txt'));
await compileAhead(dirname(commands[0]));
for (const file of commands) chmodSync(file, 0o755);
writeFileSync(join(next, '.built'), '');
if (existsSync(dist)) renameSync(dist, old);
renameSync(next, dist);
rmSync(old, { recursive: true, force: true });
