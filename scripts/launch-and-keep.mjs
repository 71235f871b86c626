// node launch-and-keep.mjs <bundle> <arguments…>: runs a command for compile-ahead.mjs.
import { createRequire } from 'node:module';
import v8 from 'node:v8';
import { pathToFileURL } from 'node:url';

const [bundle] = process.argv.splice(2, 1);
const { launchAndKeep } = await import(new URL('../cli/launch.js', pathToFileURL(bundle)).href);
// What was compiled with other flags than the default ones would not be used: those that commands set (src/cli/once-up.ts) are left out.
v8.setFlagsFromString = () => {};
launchAndKeep(bundle, createRequire(bundle));
