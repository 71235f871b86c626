// node launch-and-keep.mjs <bundle> <arguments…>: runs a command for compile-ahead.mjs.
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { pathToFileURL } from 'node:url';

const [bundle] = process.argv.splice(2, 1);
const { launchAndKeep } = await import(new URL('../cli/launch.js', pathToFileURL(bundle)).href);
// What was compiled with other flags than the default ones would not be used: those that src/cli/heap.ts and compile.ts set.
const DEFAULTS = ['--heap-growing-percent=0', '--no-always-sparkplug', '--lazy-feedback-allocation'];
launchAndKeep(bundle, createRequire(bundle), () => DEFAULTS.forEach((flag) => setFlagsFromString(flag)));
