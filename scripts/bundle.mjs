// Puts each command of a compiled tree into one file: loading five hundred small ones takes longer than all else
// that a command does until it is registered.
import { createRequire, isBuiltin } from 'node:module';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { rolldown } from 'rolldown';

const require = createRequire(import.meta.url);

/** Packages with native code, which stays in files of its own. */
const NATIVE = ['udx-native', 'sodium-native'];

/**
 * Makes each command a bundle and a few lines that launch it.
 * @param {string[]} commands paths of compiled entry files
 * @param {string} notices where the licences of the packages inside go
 */
export async function bundleCommands(commands, notices) {
  const modules = new Set();
  for (const file of commands) {
    const bundle = await rolldown({
      input: file,
      platform: 'node',
      external: NATIVE.map(binding),
      plugins: [addonsAtOnce, loadedAtFirstUse],
      // The native code that it looks for is for great numbers of strings.
      resolve: { alias: { msgpackr: require.resolve('msgpackr').replace('dist/node.cjs', 'index.js') } },
      logLevel: 'silent',
    });
    const minify = { compress: false, mangle: false, codegen: { removeWhitespace: true } };
    const { output } = await bundle.generate({
      format: 'cjs',
      codeSplitting: false,
      comments: false,
      minify,
    });
    for (const module of output[0].moduleIds) modules.add(module);
    writeFileSync(file.replace(/\.js$/, '.cjs'), expression(output[0].code));
    writeFileSync(file, await launcher(basename(file, '.js'), join(dirname(file), '../cli/launch.js')));
    rmSync(`${file}.map`, { force: true });
  }
  writeFileSync(join(dirname(commands[0]), 'package.json'), '{"type":"commonjs"}\n');
  const packages = new Set([...modules].filter((module) => module.includes('node_modules')).map(packageOf));
  writeFileSync(
    notices,
    [...packages]
      .toSorted((a, b) => (a < b ? -1 : 1))
      .map(noticeOf)
      .join('\n\n'),
  );
}

/** What src/cli/launch.ts takes: a function, in ASCII. */
function expression(code) {
  const body = code.replace(/^#!.*\n/, '').replaceAll(/[^\0-\x7f]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
  return `(function (require, __filename) {const module = {exports: {}}, exports = module.exports;${body}\n})`;
}

/** In CommonJS as well: with modules, Node would load twice as much of itself. */
async function launcher(name, launch) {
  const bundle = await rolldown({ input: launch, platform: 'node', logLevel: 'silent' });
  const { output } = await bundle.generate({ format: 'cjs' });
  return `#!/usr/bin/env node\n${output[0].code}\nexports.launch(require('node:path').join(__dirname, '${name}.cjs'), require);\n`;
}

/** A package with native code looks for it in many places; nearly always it is in the one that comes first here. */
const addonsAtOnce = {
  name: 'addons at once',
  load(id) {
    const name = NATIVE.find((each) => id.endsWith(join('node_modules', each, 'binding.js')));
    if (name === undefined) return null;
    return `
      const host = process.platform + '-' + process.arch;
      try {
        module.exports = require(['${name}/prebuilds', host, '${name}.node'].join('/'));
      } catch {
        module.exports = require('${binding(name)}');
      }`;
  },
};

function binding(name) {
  return `${name}/binding.js`;
}

/** What is slow to load, and not needed before something of it is used, is loaded then. */
const loadedAtFirstUse = {
  name: 'loaded at first use',
  resolveId(id, importer) {
    const name = id.replace(/^node:/, '');
    return LATE.includes(name) && !importer?.startsWith(LATE_ID) ? `${LATE_ID}${name}` : null;
  },
  load(id) {
    if (!id.startsWith(LATE_ID)) return null;
    const name = id.slice(LATE_ID.length);
    const real = JSON.stringify(isBuiltin(name) ? `node:${name}` : require.resolve(name));
    const getters = Object.keys(require(name)).map(
      (each) => `get ${each}() { return require(${real}).${each}; }`,
    );
    return `module.exports = {${getters.join(',')}};`;
  },
};

const LATE =
  'http https http2 tls zlib dgram child_process dns/promises fs/promises stream/consumers timers/promises stun'.split(
    ' ',
  );
const LATE_ID = '\0late:';

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
