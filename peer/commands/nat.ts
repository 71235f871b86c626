import type { Command } from 'commander';
import { folded } from '../../src/cli/fold.ts';
import type { Reporter } from '../../src/cli/reporter.ts';
import { durationBetween, stopSignal } from '../../src/cli/run.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { proxyFor } from '../../src/net/proxy.ts';
import { natReport, type NatMeasurement } from '../nat-report.ts';
import { natReportWords } from '../nat-words.ts';
import { measureByStun, type MeasureOptions } from '../plain-discovery.ts';
import { sourceTowards } from '../source-address.ts';
import { reporterOf, startQuietly, withPeerOptions, type SharedOptions } from './shared.ts';

interface NatOptions extends SharedOptions {
  timeout: number;
  stun?: string[];
  lifetime?: boolean;
}

/** `peer nat`: what the NATs in front of this host do, and whom that lets it reach directly. */
export function addNatCommand(program: Command): void {
  withPeerOptions(program.command('nat').description('NAT-type diagnostic'))
    .option(
      '--timeout <duration>',
      'how long to measure at most, such as 20s; a number alone is seconds',
      durationBetween(1, 600, 's'),
      10,
    )
    .option('--stun <host:port...>', 'measure by these STUN servers, without a rendezvous')
    .option('--lifetime', 'measure as well how long an idle mapping lives: takes up to two minutes more')
    .action(nat);
}

async function nat(options: NatOptions): Promise<void> {
  const reporter = reporterOf(options);
  const signal = stopSignal();
  const measure = {
    timeoutMs: options.timeout * 1_000,
    lifetime: options.lifetime ?? false,
    signal,
  };
  reporter.live(`measuring what the NATs on the way out do, for ${options.timeout} s at most …`);
  const measuring = options.stun
    ? measureByStun(options.stun, measure)
    : measureByRendezvous(options, measure, reporter);
  const measurement = await measuring.finally(() => reporter.endLive());
  const report = natReport(measurement);
  reporter.report(report, folded(natReportWords(report)));
}

async function measureByRendezvous(
  options: NatOptions,
  { timeoutMs, lifetime, signal }: MeasureOptions,
  reporter: Reporter,
): Promise<NatMeasurement> {
  const peer = await startQuietly(options, reporter, signal);
  try {
    const { network } = peer;
    const endAt = performance.now() + timeoutMs;
    network.discovery?.hurry();
    await network.diagnosed(timeoutMs, signal);
    await network.discovery?.surveyed(endAt - performance.now(), signal);
    if (lifetime) await network.discovery?.lifetimeMeasured(signal);
    if (signal.aborted) throw new SallyportError('ABORTED', 'stopped before the measurement was complete');
    const { diagnosis } = network.discovery ?? {};
    return {
      profile: peer.profile,
      stun: network.stunServers,
      source: await sourceTowards(network.stunServers.udp, signal),
      tookMs: diagnosis && diagnosis.ended - diagnosis.began,
      servers: peer.rendezvous,
      proxy: proxyFor(new URL(peer.rendezvous), process.env) !== undefined,
      portMapping: network.portMapping,
      notes: [],
    };
  } finally {
    await peer.close();
  }
}
