// npm run test:versions: the tests under every other version of Node that is supported.
//   npm run test:versions -- [22 24 26] [-- what vitest takes: files, -t name]
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bootstrap } from './bootstrap.mjs';

const SUPPORTED = ['20', '22', '24', '26'];
const root = fileURLToPath(new URL('..', import.meta.url));

const [versions, asked] = split(process.argv.slice(2));
bootstrap({ system: true, build: true });
const folder = mkdtempSync(join(tmpdir(), 'sallyport-versions-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const failed = versions.filter((version) => !passes(version));
process.stderr.write(failed.length === 0 ? '• all passed\n' : `• failed: Node ${failed.join(', ')}\n`);
process.exitCode = failed.length === 0 ? 0 : 1;

function split(args) {
  const end = args.indexOf('--');
  const named = end < 0 ? args : args.slice(0, end);
  const other = SUPPORTED.filter((version) => version !== process.versions.node.split('.')[0]);
  return [named.length === 0 ? other : named, end < 0 ? [] : args.slice(end + 1)];
}

/** Commands that the tests start find that version too: it comes first on the path. */
function passes(version) {
  const PATH = `${install(version)}${delimiter}${process.env.PATH}`;
  const node = ['node', 'node_modules/vitest/vitest.mjs', 'run', ...asked];
  process.stderr.write(`• Node ${version}\n`);
  return spawnSync('env', node, { cwd: root, stdio: 'inherit', env: { ...process.env, PATH } }).status === 0;
}

/** Returns the folder that the program is in. */
function install(version) {
  const prefix = join(folder, version);
  mkdirSync(prefix);
  const name = `node-${process.platform}-${process.arch}`;
  const args = [
    'install',
    '--prefix',
    prefix,
    '--no-save',
    '--no-audit',
    '--loglevel=error',
    `${name}@${version}`,
  ];
  const { status } = spawnSync('npm', args, { stdio: 'inherit' });
  if (status !== 0) throw new Error(`${name}@${version} can't be installed`);
  return join(prefix, 'node_modules', name, 'bin');
}
