import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { NatReport } from '../../peer/nat-report.ts';
import { RunningCommand } from '../e2e/commands.ts';
import { Lab, labSupport, type SideName } from './lab.ts';
import { TemporaryFolder } from './temporary-folder.mjs';

const support = await labSupport();
if (!support.ok) console.log(`skipped, both families behind real NATs: ${support.reason}`);

const URL = 'http://both.test:443';

describe.skipIf(!support.ok)('a rendezvous whose name has addresses of both families', () => {
  let lab: Lab;
  let folder: TemporaryFolder;

  afterEach(async () => {
    await lab.close();
    await folder.close();
  });

  /** It names no address of its own; both hosts have both families. */
  async function start(delayMs?: number): Promise<void> {
    folder = new TemporaryFolder('families');
    lab = await Lab.create({ a: 'ei/apd+ipv6', b: 'ei/apd+ipv6', delayMs });
    const { rendezvous, rendezvousIPv6 } = lab.addresses;
    writeFileSync(hostsFile(), `${rendezvousIPv6} both.test\n${rendezvous[0]} both.test\n`);
    const where = ['--listen', '[::]:443', '--home', join(folder.path, 'r')];
    const server = new RunningCommand(
      'rendezvous',
      ['start', ...where, '--insecure', '--open', '--no-relay', '--json'],
      { start: lab.hosts.rendezvous.spawn.bind(lab.hosts.rendezvous) },
    );
    await server.event('listening');
    // Routers ask for their neighbours once the kernel has made sure that their addresses are nobody else's.
    const health = `fetch('http://[${rendezvousIPv6}]:443/healthz').catch(() => process.exit(1))`;
    while ((await lab.hosts.a.exec(process.execPath, ['-e', health])).code !== 0);
  }

  function hostsFile(): string {
    return join(folder.path, 'hosts');
  }

  /** On a host that knows the name. */
  function peer(host: SideName, ...args: string[]): RunningCommand {
    const mounted = ['-m', 'sh', '-c', `mount --bind ${hostsFile()} /etc/hosts && exec "$@"`, 'sh'];
    const home = ['--home', join(folder.path, host), '--rendezvous', URL, '--json'];
    return new RunningCommand('peer', [...args, ...home], {
      start: (command, rest, options) =>
        lab.hosts[host].spawn('unshare', [...mounted, command, ...rest], options),
    });
  }

  it('has IPv4 measured for who reached it over IPv6', async () => {
    await start();
    const report = JSON.parse(String((await peer('a', 'nat').ended).stdout)) as NatReport;
    const [over4] = lab.addresses.rendezvous;
    expect(report.udp).toMatchObject({
      mapping: 'endpoint-independent',
      servers: [`${over4}:3478`, `${over4}:3479`],
    });
    expect(report.overIPv6?.udp.mapping).toBe('none');
  });

  it.each<[SideName, string]>([
    ['a', 'ip -6 route flush default'],
    ['b', 'ip -4 route flush default'],
  ])('is reached from far away by host %s after %j, as over either family', async (host, script) => {
    await start(160);
    await lab.hosts[host].exec('sh', ['-c', script]);
    const up = peer(host, 'up');
    expect(await up.event('registered')).toMatchObject({ rendezvous: URL });
  });
});
