import type { Command } from 'commander';
import { folded } from '../../src/cli/fold.ts';
import { stopSignal } from '../../src/cli/run.ts';
import { natWords } from '../../src/core/nat/words.ts';
import type { Transport } from '../../src/core/punch/candidate.ts';
import type { Stage } from '../../src/core/punch/stage.ts';
import type { PathRequest } from '../../src/core/punch/situation.ts';
import type { Prospect } from '../prospect.ts';
import {
  agoWords,
  parsePaths,
  reporterOf,
  shortId,
  startQuietly,
  withPeerOptions,
  type SharedOptions,
} from './shared.ts';

interface PlanOptions extends SharedOptions {
  paths?: PathRequest[];
  accept?: boolean;
}

/** `peer plan`: what `peer connect` would try with a peer, before anything is sent to it. */
export function addPlanCommand(program: Command): void {
  withPeerOptions(
    program
      .command('plan')
      .argument('<id|name>', 'the peer to plan for')
      .description('what would be tried with that peer, and how likely it is to be direct; sends no probe'),
  )
    .option('--paths <kinds>', 'restrict which kinds of path may be used: udp,tcp,relay', parsePaths)
    .option('--accept', 'trust a name that was not met before')
    .action(plan);
}

async function plan(to: string, options: PlanOptions): Promise<void> {
  const reporter = reporterOf(options);
  const stop = stopSignal();
  const peer = await startQuietly(options, reporter, stop);
  try {
    const prospect = await peer.plan(to, {
      paths: options.paths,
      signal: stop,
      acceptName: options.accept,
    });
    reporter.report(prospect, folded(planWords(prospect)));
  } finally {
    await peer.close();
  }
}

/** For people. */
export function planWords(prospect: Prospect): string {
  const { stages, obstacles, here, there, kinds } = prospect;
  const transports = (['udp', 'tcp'] as const).filter((transport) => kinds.includes(transport));
  const isTriedOver6 = (by: Transport) => stages.some(({ transport, ipv6 }) => transport === by && ipv6);
  return [
    verdictWords(prospect),
    ...workedWords(prospect),
    ...transports.flatMap((transport) => [
      '',
      `${transport.toUpperCase()}, here:  the NAT ${natWords(transport, here)}`,
      `     there: the NAT ${natWords(transport, there)}`,
    ]),
    ...(stages.length > 0 ? ['', 'What both ends would try, side by side:', ...stages.map(stageWords)] : []),
    ...obstacles.flatMap(({ transport, code, reason, remedy }) => [
      '',
      `${transport.toUpperCase()}${isTriedOver6(transport) ? ' over IPv4' : ''} does not get through (${code}): ${reason}.`,
      ...(remedy === undefined ? [] : [`  ${remedy}.`]),
    ]),
  ].join('\n');
}

function verdictWords({ peer, expected, probability, stages, kinds }: Prospect): string {
  const meanwhile = kinds.includes('relay') ? ', on the relay until then' : '';
  switch (expected) {
    case 'udp':
    case 'tcp':
      return `With ${shortId(peer)}: direct by ${expected.toUpperCase()}, ${stages[0]!.technique}, in ${percent(probability)} of cases${meanwhile}.`;
    case 'relay':
      return `With ${shortId(peer)}: by the relay.`;
    case 'none':
      return `With ${shortId(peer)}: no path is to be expected, and the relay is not allowed.`;
  }
}

function workedWords({ worked }: Prospect): string[] {
  if (!worked) return [];
  const { transport, technique, secondsAgo } = worked;
  return [`Worked last time, ${agoWords(secondsAgo)}: ${transport.toUpperCase()}, ${technique}.`];
}

function stageWords({ transport, technique, probability, packets, seconds, ipv6 }: Stage): string {
  const name = `${transport}  ${technique}${ipv6 ? ', IPv6' : ''}`.padEnd(32);
  return `  ${name} ${percent(probability).padStart(5)}, at most ${packets} packets, ${seconds} s`;
}

function percent(probability: number): string {
  return `${Math.round(100 * probability)} %`;
}
