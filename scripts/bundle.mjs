// Puts each command of a compiled tree into one file: loading five hundred small ones takes longer than all else
// that a command does until it is registered.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { rolldown } from 'rolldown';

/** These bring native code along and find it beside their own files. */
const NATIVE = ['udx-native', 'sodium-universal', 'sodium-native', 'msgpackr-extract'];

/**
 * Overwrites the commands with their bundles.
 * @param {string[]} commands paths of compiled entry files
 * @param {string} notices where the licences of the packages inside go
 */
export async function bundleCommands(commands, notices) {
  const modules = new Set();
  for (const file of commands) {
    const bundle = await rolldown({ input: file, platform: 'node', external: NATIVE, logLevel: 'silent' });
    const { output } = await bundle.write({ file, format: 'esm', codeSplitting: false });
    for (const module of output[0].moduleIds) modules.add(module);
    rmSync(`${file}.map`, { force: true });
  }
  const packages = new Set([...modules].filter((module) => module.includes('node_modules')).map(packageOf));
  writeFileSync(
    notices,
    [...packages]
      .toSorted((a, b) => (a < b ? -1 : 1))
      .map(noticeOf)
      .join('\n\n'),
  );
}

/** The folder of the package that a module belongs to. */
function packageOf(module) {
  let folder = dirname(module);
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

/** What a package asks to be kept with copies of it. */
function noticeOf(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const text = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file));
  const terms = text ? readFileSync(join(folder, text), 'utf8').trim() : `${license}`;
  return `${name} ${version}\n${'-'.repeat(72)}\n${terms}\n`;
}
