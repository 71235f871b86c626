import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Lab, SideName } from '../lab.ts';
import type { Discovered } from './discover.ts';

/** STUN on the rendezvous's addresses until the lab is closed, or the function that it resolves with is called. */
export async function serveStun(lab: Lab): Promise<() => Promise<void>> {
  const { rendezvous } = lab.hosts;
  const server = rendezvous.spawn(...command('serve', lab.addresses.rendezvous));
  if (server.stdout) await once(server.stdout, 'data');
  return async () => {
    const exited = once(server, 'exit');
    server.kill();
    await exited;
  };
}

/** What one side's host finds out about its NATs, so often. */
export async function discoverFrom(lab: Lab, side: SideName, runs = 1): Promise<Discovered[]> {
  const host = lab.hosts[side];
  const args = [String(runs), ...lab.addresses.rendezvous];
  const { stdout, stderr, code } = await host.exec(...command('discover', args));
  if (code !== 0) throw new Error(stderr);
  const lines = stdout.trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Discovered);
}

function command(program: string, args: readonly string[]): [string, string[]] {
  const path = (file: string) => fileURLToPath(new URL(file, import.meta.url));
  return ['node', ['--import', path('../../../scripts/ts.mjs'), path(`${program}.ts`), ...args]];
}
