import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** How many pages the kernel gave to a process of its own while it read 512 MiB from a socket. */
const PROGRAM = `
  import { once } from 'node:events';
  import { connect, createServer } from 'node:net';
  import { keepFreedMemory } from './src/cli/freed-memory.ts';
  keepFreedMemory();
  const server = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect(server.address().port, '127.0.0.1');
  await once(socket, 'connect');
  const chunk = Buffer.alloc(64 * 1024);
  const pass = async (mebibytes) => {
    for (let left = mebibytes * 16; left > 0; left -= 1) if (!socket.write(chunk)) await once(socket, 'drain');
  };
  await pass(256);
  const before = process.resourceUsage().minorPageFault;
  await pass(512);
  console.log(process.resourceUsage().minorPageFault - before);
  process.exit();`;

const { glibcVersionRuntime } = (process.report.getReport() as { header: { glibcVersionRuntime?: string } })
  .header;

it.skipIf(glibcVersionRuntime === undefined)(
  'reads again and again into memory that it has already',
  () => {
    const args = ['--import', './scripts/ts.mjs', '--input-type=module', '--eval', PROGRAM];
    const pages = Number(execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' }));
    // A few thousand at most; without, 15,000 to 70,000 of the 131,072 that went through.
    expect(pages).toBeLessThan(8_000);
  },
  60_000,
);
