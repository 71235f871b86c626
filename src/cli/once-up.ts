import { compileAtOnce } from './compile.ts';
import { keepFreedMemory } from './freed-memory.ts';
import { collectSeldom } from './heap.ts';

/** When a command's start is over, and in most cases its first session's too. */
const UP_MS = 1_000;

/** What a session has Node load. */
const NEEDED = ['node:http', 'node:tls'];

/**
 * Sets V8 and malloc up for a process that lasts and carries bytes.
 * @public for benchmarks, which run what is built
 */
export function tune(): void {
  for (const name of NEEDED) process.getBuiltinModule(name);
  collectSeldom();
  keepFreedMemory();
  compileAtOnce();
}

/**
 * The same once a command is up. Node brings the compiled code of its own modules, which V8 takes only with the flags that Node was
 * built with: what is loaded once others are set is compiled anew, which made a command's start and its first session a seventh slower.
 * So whatever is still needed is loaded before.
 */
export function tuneOnceUp(): void {
  setTimeout(tune, UP_MS).unref();
}
