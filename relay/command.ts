import { once } from 'node:events';
import { Command } from 'commander';
import { Reporter, type ReporterOptions } from '../src/cli/reporter.ts';
import { integerBetween, option, stopSignal, withSharedOptions } from '../src/cli/run.ts';
import { formatEndpoint } from '../src/core/endpoint.ts';
import { SallyportError } from '../src/core/errors.ts';
import { parseRendezvousUrl } from '../src/core/rendezvous-url.ts';
import { RelayServer, type RelayOptions } from './server.ts';

/** The `relay` command. */
export function relayCommand(): Command {
  const program = new Command('relay').description('Carries sessions that have no direct path');
  const start = withSharedOptions(new Command('start').description('run a relay until stopped'))
    .addOption(
      option(
        '--rendezvous <url>',
        'the rendezvous that issues its tickets; a join URL',
      ).makeOptionMandatory(),
    )
    .addOption(option('--listen <host:port>', 'where to listen (default: port 443, or 80 with --insecure)'))
    .addOption(option('--public-url <url>', 'where peers reach it'))
    .addOption(
      option('--stun-port <port>', 'first of two STUN ports (default: 3478)').argParser(
        integerBetween(0, 65_534),
      ),
    )
    .addOption(option('--tls-cert <file>', 'certificate chain, PEM'))
    .addOption(option('--tls-key <file>', 'its private key, PEM'))
    .addOption(option('--insecure', 'cleartext HTTP'))
    .addOption(option('--token-file <file>', 'the join token, instead of the URL’s'))
    .addOption(option('--home <folder>', 'where the key is kept'))
    .action((options: RelayOptions & ReporterOptions) => run(options));
  return program.addCommand(start);
}

async function run(options: RelayOptions & ReporterOptions): Promise<void> {
  const reporter = new Reporter(options);
  const stop = stopSignal();
  const relay = await RelayServer.start({ ...options, signal: stop });
  const refused = new Promise<SallyportError>((resolve) => relay.once('error', resolve));
  let told: string | undefined; // it is tried again every few seconds, mostly with the same outcome
  const { url: rendezvous } = parseRendezvousUrl(options.rendezvous);
  const registered = () =>
    reporter.event('registered', { id: relay.id, rendezvous }, 'registered at the rendezvous');
  relay.on('registered', () => {
    told = undefined;
    registered();
  });
  relay.on('down', ({ code, message }) => {
    const words = message === told ? undefined : `no rendezvous: ${message}; it is tried again`;
    told = message;
    reporter.event('unregistered', { code, message }, words);
  });
  const { id, url, stun } = relay;
  const endpoints = [...new Set([...stun.udp, ...stun.tcp].map(formatEndpoint))];
  reporter.event('listening', { url, id, stun: endpoints }, `listening on ${reporter.paint('bold', url)}`);
  registered();
  const outcome = await Promise.race([stop.aborted ? stop : once(stop, 'abort'), refused]);
  await relay.close();
  if (outcome instanceof SallyportError) throw outcome;
  reporter.event('closed', { reason: 'stopped' }, 'stopped');
}
