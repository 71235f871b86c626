import { once } from 'node:events';
import { Command } from 'commander';
import { Reporter, type ReporterOptions } from '../src/cli/reporter.ts';
import { integerBetween, option, stopSignal, withSharedOptions } from '../src/cli/run.ts';
import { formatEndpoint } from '../src/core/endpoint.ts';
import type { RendezvousOptions } from './options.ts';
import type { RegistryOutput } from './registry-events.ts';
import { RendezvousServer, type AttachRelay } from './server.ts';

/** The `rendezvous` command. @param attachRelay gives it the relay of its own */
export function rendezvousCommand(attachRelay: AttachRelay): Command {
  const program = new Command('rendezvous').description('Introduces peers to one another');
  const start = withSharedOptions(new Command('start').description('run a rendezvous until stopped'))
    .addOption(option('--listen <host:port>', 'where to listen (default: port 443, or 80 with --insecure)'))
    .addOption(option('--public-url <url>', 'the URL that peers are to use, where it has a name'))
    .addOption(option('--public-address <address>', 'the address at which the outside reaches this host'))
    .addOption(option('--alt-address <address>', 'a second public address of this host, for STUN'))
    .addOption(
      option('--ipv6-address <address>', 'its IPv6 address for STUN (default: its own; "none": IPv4 alone)'),
    )
    .addOption(
      option('--stun-port <port>', 'first of two STUN ports (default: 3478)').argParser(
        integerBetween(0, 65_534),
      ),
    )
    .addOption(option('--relay', 'relay in this process too (default)'))
    .addOption(option('--no-relay', 'leave relaying to others').env('SALLYPORT_NO_RELAY'))
    .addOption(option('--tls-cert <file>', 'certificate chain, PEM'))
    .addOption(option('--tls-key <file>', 'its private key, PEM'))
    .addOption(option('--insecure', 'cleartext HTTP'))
    .addOption(option('--token-file <file>', 'the join token; made at first start'))
    .addOption(
      option(
        '--relay-token-file <file>',
        'a token that relays need instead of the join token; made at first start',
      ),
    )
    .addOption(option('--open', 'admit every peer and relay without a token'))
    .addOption(option('--home <folder>', 'where key and token are kept'))
    .action((options: RendezvousOptions & ReporterOptions) => run(options, attachRelay));
  return program.addCommand(start);
}

async function run(options: RendezvousOptions & ReporterOptions, attachRelay: AttachRelay): Promise<void> {
  const reporter = new Reporter(options);
  const stop = stopSignal();
  const server = await RendezvousServer.start(options, attachRelay, (event) => tell(reporter, event));
  const { url, joinUrl, stun } = server;
  const endpoints = [...new Set([...stun.udp, ...stun.tcp].map(formatEndpoint))];
  const words = `listening on ${reporter.paint('bold', url)}\npeers join by: peer join '${joinUrl}'`;
  reporter.event('listening', { url, join: joinUrl, id: server.id, stun: endpoints }, words);
  if (!stop.aborted) await once(stop, 'abort');
  await server.drain();
  reporter.event('closed', { reason: 'stopped' }, 'stopped');
}

/** Who comes and goes, by id. Addresses are not written down anywhere. */
function tell(reporter: Reporter, event: RegistryOutput): void {
  if (event.type === 'joined' || event.type === 'left') {
    const words = reporter.verbose ? `${event.role} ${event.id} ${event.type}` : undefined;
    reporter.event(event.type, { id: event.id, role: event.role }, words);
  } else if (event.type === 'close' && event.error) {
    const { code, message } = event.error;
    reporter.event(
      'refused',
      { code, message },
      reporter.verbose ? `refused: ${code} ${message}` : undefined,
    );
  }
}
