import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Endpoint } from '../../src/core/endpoint.ts';

/** An endpoint that answers no SYN: a listener that is never served, its backlog full. */
export async function silentEndpoint(): Promise<{ remote: Endpoint; close: () => Promise<void> }> {
  const child = spawn(process.execPath, ['-e', SILENT_LISTENER], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const remote = { address: '127.0.0.1', port: Number(String(line)) };
  const fillers = Array.from({ length: 4 }, () =>
    connect({ host: remote.address, port: remote.port }).on('error', () => {}),
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  const close = async (): Promise<void> => {
    for (const filler of fillers) filler.destroy();
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  return { remote, close };
}

const SILENT_LISTENER = `
  const server = require('node:net').createServer();
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
    require('node:fs').writeSync(1, String(server.address().port));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
`;
