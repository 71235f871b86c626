// node launch-and-keep.mjs <bundle> <arguments…>: runs a command for compile-ahead.mjs.
import { setFlagsFromString } from 'node:v8';
import { pathToFileURL } from 'node:url';

const bundle = pathToFileURL(process.argv.splice(2, 1)[0]);
const { launchAndKeep } = await import(new URL('../cli/launch.js', bundle).href);
// What was compiled with other flags than the default ones would not be used; src/cli/heap.ts has set this one.
launchAndKeep(bundle, () => setFlagsFromString('--heap-growing-percent=0'));
