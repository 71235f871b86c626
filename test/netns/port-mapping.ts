import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { SallyportError } from '../../src/core/errors.ts';
import { runCommand } from './commands.ts';
import type { Namespaces } from './namespaces.ts';
import type { PortMappingService } from './nats.ts';
import { TemporaryFolder } from './temporary-folder.mjs';

interface PortMappingRouter {
  readonly node: string;
  readonly service: PortMappingService;
  /** `undefined` where the outer interface has a private one, which miniupnpd finds out by itself. */
  readonly publicAddress: string | undefined;
  /** What a lease is cut down to; miniupnpd's own bound otherwise. */
  readonly leaseSeconds?: number | undefined;
}

/** Whether this machine has the daemon; the Debian package is `miniupnpd-nftables`. */
export async function hasMiniupnpd(): Promise<boolean> {
  return (await runCommand(['sh', '-c', 'command -v miniupnpd || test -x /usr/sbin/miniupnpd'])).code === 0;
}

/** Starts miniupnpd on a router of the lab; it ends with the lab. Resolves when it serves. */
export async function startMiniupnpd(
  namespaces: Namespaces,
  router: PortMappingRouter,
): Promise<ChildProcess> {
  if (!(await hasMiniupnpd())) {
    throw new SallyportError('UNSUPPORTED', 'miniupnpd is missing', {
      hint: 'apt install miniupnpd-nftables',
    });
  }
  const folder = new TemporaryFolder('miniupnpd');
  try {
    const config = join(folder.path, 'miniupnpd.conf');
    writeFileSync(config, configuration(router));
    const [file = '', ...prefix] = namespaces.enter(router.node);
    const args = ['setpriv', '--pdeathsig', 'KILL', '--', 'miniupnpd', '-d', '-f', config];
    const path = `${process.env['PATH']}:/usr/sbin`;
    const child = spawn(file, [...prefix, ...args, '-P', join(folder.path, 'pid')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PATH: path },
    });
    await serving(child, router.service);
    return child;
  } finally {
    await folder.close();
  }
}

function configuration({ service, publicAddress, leaseSeconds }: PortMappingRouter): string {
  return [
    'ext_ifname=wan',
    ...(publicAddress === undefined ? [] : [`ext_ip=${publicAddress}`]),
    'listening_ip=lan',
    `enable_natpmp=${service === 'upnp' ? 'no' : 'yes'}`,
    `enable_upnp=${service === 'upnp' ? 'yes' : 'no'}`,
    'secure_mode=yes',
    'uuid=00000000-0000-0000-0000-000000000001',
    ...(leaseSeconds === undefined ? [] : ['min_lifetime=1', `max_lifetime=${leaseSeconds}`]),
    'allow 1024-65535 192.168.0.0/16 1024-65535',
    'deny 0-65535 0.0.0.0/0 0-65535',
    '',
  ].join('\n');
}

async function serving(child: ChildProcess, service: PortMappingService): Promise<void> {
  const sign = service === 'upnp' ? /listening on port/i : /NAT-PMP\/PCP/i;
  const said: string[] = [];
  const ready = new Promise<void>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on('line', (line) => {
        if (said.length < 50) said.push(line);
        if (sign.test(line)) resolve();
      });
    }
  });
  const ended = once(child, 'exit').then(() => {
    throw new SallyportError('INTERNAL', `miniupnpd ended: ${said.join('; ')}`);
  });
  await Promise.race([ready, ended]);
  ended.catch(() => {}); // it is killed with the lab
}
