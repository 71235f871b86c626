import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A folder that is gone when it is closed or this process has ended, whatever ended it: a shell waits for the end of
 * its stdin and removes it.
 */
export class TemporaryFolder {
  readonly path: string;
  readonly #remover: ChildProcess;

  constructor(name: string) {
    this.path = mkdtempSync(join(tmpdir(), `sallyport-${name}-`));
    // `detached` keeps a terminal's signals away from it.
    const stdio = ['pipe', 'ignore', 'inherit'] as const;
    this.#remover = spawn('sh', ['-c', REMOVER_SCRIPT, 'sh', this.path], {
      stdio: [...stdio],
      detached: true,
    });
    this.#remover.unref();
  }

  async close(): Promise<void> {
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
