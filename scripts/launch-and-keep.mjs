// node launch-and-keep.mjs <bundle> <arguments…>: runs a command for compile-ahead.mjs.
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { pathToFileURL } from 'node:url';

const [bundle] = process.argv.splice(2, 1);
const { launchAndKeep } = await import(new URL('../cli/launch.js', pathToFileURL(bundle)).href);
// What was compiled with other flags than the default ones would not be used; src/cli/heap.ts has set this one.
launchAndKeep(bundle, createRequire(bundle), () => setFlagsFromString('--heap-growing-percent=0'));
