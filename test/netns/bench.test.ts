import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { RunningCommand, type CommandName } from '../e2e/commands.ts';
import { Lab, labSupport, type SideName } from './lab.ts';
import { TemporaryFolder } from './temporary-folder.mjs';

const support = await labSupport();
if (!support.ok) console.log(`skipped, peer bench behind real NATs: ${support.reason}`);

describe.skipIf(!support.ok)('peer bench between NATs that let nothing through', () => {
  let lab: Lab;
  let folder: TemporaryFolder;

  afterEach(async () => {
    await lab.close();
    await folder.close();
  });

  function run(host: SideName | 'rendezvous', name: CommandName, ...args: string[]): RunningCommand {
    const home = ['--home', join(folder.path, host), '--json'];
    return new RunningCommand(name, [...args, ...home], {
      start: lab.hosts[host].spawn.bind(lab.hosts[host]),
    });
  }

  it('measures nothing more when it is stopped while it waits for a direct path', async () => {
    folder = new TemporaryFolder('bench');
    lab = await Lab.create({ a: 'apd/apd-random', b: 'apd/apd-random' });
    const [address] = lab.addresses.rendezvous;
    const server = run(
      'rendezvous',
      'rendezvous',
      'start',
      '--listen',
      `${address}:80`,
      '--insecure',
      '--open',
    );
    const { url } = await server.event('listening');
    const at = ['--rendezvous', String(url)];
    const up = run('b', 'peer', 'up', '--allow', 'any', ...at);
    const { id } = await up.event('up');
    const bench = run('a', 'peer', 'bench', String(id), '--seconds', '3', ...at);
    await bench.event('path', ({ state }) => state === 'active');
    const { status, stdout } = await bench.stop();
    expect(stdout.toString()).toBe('');
    expect(status).toBe(0);
  });
});
