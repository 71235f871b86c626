import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { runCommand } from './commands.ts';
import { Namespaces } from './namespaces.ts';
import { labSupport } from './support.ts';
import { TemporaryFolder } from './temporary-folder.mjs';

const support = await labSupport();
if (!support.ok) console.log(`skipped, a server with several addresses: ${support.reason}`);

describe.skipIf(!support.ok)('a rendezvous on a host with several addresses', () => {
  it.each([
    ['0.0.0.0:8080', '203.0.113.1', '198.51.100.20'],
    ['[::]:8080', '2001:db8::1', '2001:db8:1::20'],
  ])('that listens on %s answers STUN from the address that was asked', async (listen, server, client) => {
    const folder = new TemporaryFolder('several-addresses');
    const hosts = await Namespaces.build(['server', 'client'], async (namespaces) => {
      const [over6, mask] = server.includes(':') ? ['-6', 64] : ['-4', 24];
      await namespaces.run(
        'server',
        `ip link set lo up
         ip link add far type veth peer name near netns ${namespaces.pid('client')}
         ip addr add 198.51.100.1/24 dev far
         ip addr add 2001:db8:1::1/64 dev far nodad
         ip addr add 203.0.113.1/24 dev far
         ip addr add 2001:db8::1/64 dev far nodad
         ip link set far up`,
      );
      await namespaces.run(
        'client',
        `ip link set lo up
         ip addr add ${client}/${mask} dev near ${over6 === '-6' ? 'nodad' : ''}
         ip link set near up
         ip ${over6} route add ${server} via ${client.replace(/20$/, '1')}
         nft add table inet guard
         nft 'add chain inet guard in { type filter hook input priority 0; }'
         nft add rule inet guard in meta l4proto udp ct state != established drop`,
      );
      return namespaces;
    });
    try {
      const [enter = '', ...args] = hosts.enter('server');
      const options = [
        '--insecure',
        '--open',
        '--listen',
        listen,
        '--json',
        '--home',
        `${folder.path}/server`,
      ];
      const rendezvous = spawn(
        enter,
        [...args, process.execPath, 'dist/src/bin/rendezvous.js', 'start', ...options],
        {
          stdio: ['ignore', 'ignore', 'pipe'],
        },
      );
      await once(createInterface({ input: rendezvous.stderr }), 'line');
      const url = `http://${server.includes(':') ? `[${server}]` : server}:8080`;
      const peer = ['dist/src/bin/peer.js', 'nat', '--json', '--no-port-mapping', '--rendezvous', url];
      const { stdout, stderr } = await runCommand(
        hosts.enter('client').concat(process.execPath, peer, '--home', `${folder.path}/client`),
      );
      const report = JSON.parse(stdout || stderr) as Record<string, unknown>;
      const found = server.includes(':') ? report['overIPv6'] : report;
      expect(found).toMatchObject({ udp: { reachable: true, public: [client] } });
    } finally {
      await hosts.close();
      await folder.close();
    }
  });
});
