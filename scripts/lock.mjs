// npm run lock [-- folder]: renews package-lock.json.
// A registry that carries only some platforms' builds makes npm leave the others' optional packages out of the lock,
// and `npm ci` then refuses it. So what is missing is added by its name and version alone.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = process.argv[2] ?? '.';
const place = mkdtempSync(join(tmpdir(), 'sallyport-lock-'));
cpSync(join(folder, 'package.json'), join(place, 'package.json'));
const args = ['install', '--package-lock-only', '--no-audit', '--no-fund', '--loglevel=error'];
const { status } = spawnSync('npm', args, { cwd: place, stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
const lock = JSON.parse(readFileSync(join(place, 'package-lock.json'), 'utf8'));
rmSync(place, { recursive: true });

for (const [path, { optionalDependencies = {}, dev }] of Object.entries(lock.packages)) {
  if (path === '') continue;
  for (const [name, version] of Object.entries(optionalDependencies)) {
    const platform = platformOf(name);
    if (!platform || !/^\d/.test(version)) continue;
    lock.packages[`node_modules/${name}`] ??= { version, ...platform, ...(dev && { dev }), optional: true };
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(join(folder, 'package-lock.json'), `${JSON.stringify(lock, undefined, 2)}\n`);

/** Which system a build is for, by its name: `@scope/binding-linux-arm64-musl`. */
function platformOf(name) {
  const match =
    /(darwin|linux|win32|android|freebsd|openharmony)-(arm64|arm|x64|ia32|ppc64|riscv64|s390x)/.exec(name);
  if (!match) return undefined;
  const [, os, cpu] = match;
  return { os: [os], cpu: [cpu] };
}
