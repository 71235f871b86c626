// Plain Node loads this too: the programs of the benchmarks run without the hook for TypeScript.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** See its types for what it does. A shell waits for the end of its stdin, whatever ended this process, and removes the folder. */
export class TemporaryFolder {
  path;
  #remover;

  constructor(name) {
    this.path = mkdtempSync(join(tmpdir(), `sallyport-${name}-`));
    // `detached` keeps a terminal's signals away from it.
    this.#remover = spawn('sh', ['-c', REMOVER_SCRIPT, 'sh', this.path], {
      stdio: ['pipe', 'ignore', 'inherit'],
      detached: true,
    });
    this.#remover.unref();
  }

  async close() {
    const ended = this.#remover.exitCode !== null || this.#remover.signalCode !== null;
    this.#remover.stdin?.end();
    if (ended) return;
    this.#remover.ref(); // for its end keeps this process alive
    await once(this.#remover, 'exit');
  }
}

/** What this process has started may be writing there until the kernel has ended it. */
const REMOVER_SCRIPT = `
cat >/dev/null
for wait in 0.1 1 5; do
  rm -rf -- "$1" 2>/dev/null && exit
  sleep $wait
done
rm -rf -- "$1"
`;
