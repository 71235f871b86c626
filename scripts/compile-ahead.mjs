// Has the bundled commands meet once on loopback, and keeps beside each what V8 compiled for that (src/cli/launch.ts).
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const KEEPER = fileURLToPath(new URL('launch-and-keep.mjs', import.meta.url));
const PATIENCE_MS = 20_000;

/**
 * Without it the commands only start slower, so a build doesn't fail for want of a network.
 * @param {string} bin the folder of the bundles
 */
export async function compileAhead(bin) {
  const home = mkdtempSync(join(tmpdir(), 'sallyport-build-'));
  const running = [];
  const run = (name, args, launcher = [KEEPER, join(bin, `${name}.cjs`)]) => {
    const command = new Command(name, [...launcher, ...args, '--json', '--home', join(home, args[0])]);
    running.push(command);
    return command;
  };
  const echo = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1');
  try {
    await once(echo, 'listening');
    const bound = ['start', '--listen', '127.0.0.1:0', '--stun-port', '0', '--insecure'];
    const server = run('rendezvous', [...bound, '--open']);
    const { url: rendezvous } = await server.event('listening');
    const relay = run('relay', [...bound, '--rendezvous', rendezvous]);
    await relay.event('registered');
    const target = `127.0.0.1:${echo.address().port}`;
    const upArgs = ['up', '--rendezvous', rendezvous, '--allow', 'any', '--expose', target];
    // Only one of the peers keeps its code: they may end together, and two that write one file leave a part of each.
    const up = run('peer', upArgs, [join(bin, 'peer.js')]);
    const { id } = await up.event('registered');
    const connect = run('peer', ['connect', id, '--rendezvous', rendezvous, '-W', target]);
    await Promise.all([
      connect.event('path', ({ direct, state }) => direct && state === 'active'),
      connect.echo(),
    ]);
    await connect.end();
  } catch (error) {
    process.stderr.write(`the commands are not compiled ahead: ${error.message}\n`);
  } finally {
    await Promise.all(running.map((command) => command.end()));
    echo.close();
    rmSync(home, { recursive: true, force: true });
  }
}

/** One of the commands, and what it says. */
class Command {
  #name;
  #process;
  #ended;
  #lines;
  #said = [];

  constructor(name, args) {
    this.#process = spawn(process.execPath, args, { stdio: 'pipe' });
    this.#name = name;
    this.#ended = new Promise((resolve) => this.#process.on('close', resolve).on('error', resolve));
    this.#lines = createInterface(this.#process.stderr);
    this.#lines.on('line', (line) => this.#said.push(line));
  }

  /** The first event of that name that fits. */
  async event(name, fits = () => true) {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    for (;;) {
      if (this.#said.length === 0)
        await Promise.race([once(this.#lines, 'line', { signal }), this.#failed()]);
      const said = JSON.parse(this.#said.shift());
      if (said.event === 'error') throw new Error(said.message);
      if (said.event === name && fits(said)) return said;
    }
  }

  async echo() {
    this.#process.stdin.write('x');
    const signal = AbortSignal.timeout(PATIENCE_MS);
    await Promise.race([once(this.#process.stdout, 'data', { signal }), this.#failed()]);
  }

  async #failed() {
    await this.#ended;
    throw new Error(`${this.#name} has ended`);
  }

  async end() {
    this.#process.kill();
    await this.#ended;
  }
}
