import { setFlagsFromString } from 'node:v8';

/**
 * From here on V8 compiles each function when it is called for the first time, and remembers from the first call on what the
 * function meets. It would do either only for what has run some times, and a connection runs much code that has hardly run
 * before: the first ones of a process take a quarter less of the processor so. What runs only once costs more: to be called
 * when a process is up.
 */
export function compileAtOnce(): void {
  setFlagsFromString('--always-sparkplug');
  setFlagsFromString('--no-lazy-feedback-allocation');
}
