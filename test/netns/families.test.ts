import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NatReport } from '../../peer/nat-report.ts';
import { RunningCommand } from '../e2e/commands.ts';
import { Lab, labSupport } from './lab.ts';
import { TemporaryFolder } from './temporary-folder.mjs';

const support = await labSupport();
if (!support.ok) console.log(`skipped, both families behind real NATs: ${support.reason}`);

describe.skipIf(!support.ok)('a rendezvous of both families that names no address of its own', () => {
  const folder = new TemporaryFolder('families');
  let lab: Lab;
  let rendezvous: RunningCommand;

  beforeAll(async () => {
    lab = await Lab.create({ a: 'ei/apd+ipv6', b: 'ei/apd+ipv6' });
    const where = ['--listen', '[::]:443', '--home', join(folder.path, 'r')];
    const start = lab.hosts.rendezvous.spawn.bind(lab.hosts.rendezvous);
    rendezvous = new RunningCommand(
      'rendezvous',
      ['start', ...where, '--insecure', '--open', '--no-relay', '--json'],
      { start },
    );
    await rendezvous.event('listening');
    // Routers ask for their neighbours once the kernel has made sure that their addresses are nobody else's.
    const health = `fetch('http://[${lab.addresses.rendezvousIPv6}]:443/healthz').catch(() => process.exit(1))`;
    while ((await lab.hosts.a.exec(process.execPath, ['-e', health])).code !== 0);
  });

  afterAll(async () => {
    await lab.close();
    await folder.close();
  });

  /** `peer nat` on host A, where names are those of this file. */
  async function natReport(names: string, url: string): Promise<NatReport> {
    const file = join(folder.path, 'hosts');
    writeFileSync(file, names);
    const mounted = ['-m', 'sh', '-c', `mount --bind ${file} /etc/hosts && exec "$@"`, 'sh'];
    const peer = new RunningCommand('peer', ['nat', '--rendezvous', url, '--home', folder.path, '--json'], {
      start: (command, args, options) =>
        lab.hosts.a.spawn('unshare', [...mounted, command, ...args], options),
    });
    return JSON.parse(String((await peer.ended).stdout)) as NatReport;
  }

  it('measures IPv4 for who reached it over IPv6 by a name of both', async () => {
    const { rendezvousIPv6, rendezvous: over4 } = lab.addresses;
    const names = `${rendezvousIPv6} both.test\n${over4[0]} both.test\n`;
    const { udp, overIPv6 } = await natReport(names, 'http://both.test:443');
    expect(udp).toMatchObject({
      mapping: 'endpoint-independent',
      servers: [`${over4[0]}:3478`, `${over4[0]}:3479`],
    });
    expect(overIPv6?.udp.mapping).toBe('none');
  });
});
