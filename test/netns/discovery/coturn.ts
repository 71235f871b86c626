import { scriptOf } from '../../e2e/commands.ts';
import type { LabHost } from '../lab.ts';
import { runCommand } from '../commands.ts';

/** Mapping and filtering over UDP; `undefined` where it could not be told. */
export interface Opinion {
  readonly mapping: string | undefined;
  readonly filtering: string | undefined;
}

/** Whether Debian's `coturn` is installed: its server, and the client that discovers NAT behaviours. */
export async function hasCoturn(): Promise<boolean> {
  const script = 'command -v turnserver && command -v turnutils_natdiscovery';
  return (await runCommand(['sh', '-c', script])).code === 0;
}

/** An RFC 5780 server on two addresses and both ports, until the lab is closed. */
export async function startCoturn(host: LabHost, [primary, other]: readonly [string, string]): Promise<void> {
  const addresses = ['-L', primary, '-L', other, '-p', '3478', '--alt-listening-port', '3479'];
  const quiet = ['-n', '--no-cli', '--log-file', 'stdout', '--pidfile', '/dev/null'];
  const server = host.spawn('turnserver', ['--stun-only', ...quiet, ...addresses]);
  server.stdout?.resume();
  for (let tries = 0; tries < 50; tries++) {
    const { stdout } = await host.exec('turnutils_natdiscovery', ['-m', primary]);
    if (/Mapping!|No NAT!/.test(stdout)) return;
  }
  throw new Error('coturn does not answer on its own host');
}

/** What coturn's client thinks, asking coturn's server. */
export async function coturnsOpinion(host: LabHost, server: string): Promise<Opinion> {
  const { stdout } = await host.exec('turnutils_natdiscovery', ['-m', '-f', '-L', host.address, server]);
  const behavior = (what: string) => {
    const words = new RegExp(`NAT with (.*) ${what}!`).exec(stdout)?.[1];
    return words?.toLowerCase().replaceAll(' ', '-');
  };
  if (!stdout.includes('No NAT!')) return { mapping: behavior('Mapping'), filtering: behavior('Filtering') };
  const filtering = behavior('Filtering');
  return { mapping: 'none', filtering: filtering === 'endpoint-independent' ? 'none' : filtering };
}

/** What `peer nat` thinks, asking the same server. */
export async function ourOpinion(host: LabHost, server: string): Promise<Opinion> {
  const { stdout } = await host.exec('node', [scriptOf('peer'), 'nat', '--json', '--stun', `${server}:3478`]);
  const { udp } = JSON.parse(stdout) as { udp: { mapping: string; filtering: string } };
  const known = (behavior: string) => (behavior === 'unknown' ? undefined : behavior);
  return { mapping: known(udp.mapping), filtering: known(udp.filtering) };
}
