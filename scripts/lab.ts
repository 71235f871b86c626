// npm run lab -- --a <nat> --b <nat> [--delay ms] [--jitter ms] [--loss pct] [--reorder pct] [--duplicate pct] [--paths kinds] [--runs n] [--json]
// Two LANs behind real kernel NATs in network namespaces, a session by the real commands, and a verdict.
import { Command, Option } from 'commander';
import { Reporter } from '../src/cli/reporter.ts';
import { integerBetween, runCommandLine } from '../src/cli/run.ts';
import { SallyportError } from '../src/core/errors.ts';
import { NAT_NAMES, parseNatName, TRAIT_NAMES, type NatName } from '../test/netns/lab.ts';
import { Scenario, type Meeting } from '../test/netns/scenario.ts';

interface LabCommandOptions {
  a: NatName;
  b: NatName;
  delay: number;
  jitter?: number;
  loss?: number;
  reorder?: number;
  duplicate?: number;
  paths?: string;
  runs: number;
  json?: boolean;
}

const program = new Command('lab')
  .description('two LANs behind real kernel NATs, a session by the real commands, and a verdict')
  .addOption(
    new Option('--a <nat>', `A's NAT: ${NAT_NAMES.join(', ')}`).default('ei/apd').argParser(parseNatName),
  )
  .addHelpText(
    'after',
    `\nTraits behind a NAT's name: ${TRAIT_NAMES.map((trait) => `+${trait}`).join(', ')}.`,
  )
  .addOption(new Option('--b <nat>', "B's NAT, one of the same").default('ei/apd').argParser(parseNatName))
  .option('--delay <ms>', 'one-way delay of each access link', integerBetween(0, 2_000), 20)
  .option('--jitter <ms>', 'most that the delay varies each way; the order is kept', integerBetween(0, 1_000))
  .option('--loss <percent>', 'loss per NAT and direction', integerBetween(0, 90))
  .option('--reorder <percent>', 'packets that skip the delay, and so overtake others', integerBetween(0, 90))
  .option('--duplicate <percent>', 'packets that arrive twice', integerBetween(0, 90))
  .option('--paths <kinds>', 'restrict the kinds of path: udp,tcp,relay')
  .option('--runs <n>', 'how many sessions, one after the other', integerBetween(1, 1_000), 1)
  .option('--json', 'one JSON object on stdout')
  .action(lab);

await runCommandLine(program, process.argv.slice(2));

async function lab({ a, b, delay, paths, runs, json, ...rest }: LabCommandOptions): Promise<void> {
  const reporter = new Reporter({ json });
  const wire = {
    delayMs: delay,
    jitterMs: rest.jitter,
    lossPercent: rest.loss,
    reorderPercent: rest.reorder,
    duplicatePercent: rest.duplicate,
  };
  const scenario = await Scenario.start({ a, b, ...wire, paths });
  const meetings: Meeting[] = [];
  try {
    while (meetings.length < runs) {
      const meeting = await scenario.meet();
      meetings.push(meeting);
      if (!json && runs > 1) process.stdout.write(`  ${oneLine(meeting)}\n`);
    }
  } finally {
    await scenario.close();
  }
  const report = {
    a,
    b,
    ...wire,
    lossPercent: rest.loss ?? 0,
    paths: paths ?? 'udp,tcp,relay',
    ...summary(meetings),
    meetings,
  };
  reporter.report(report, words(report, meetings));
  if (meetings.some(({ a: kind }) => kind === 'undefined'))
    throw new SallyportError('NO_PATH', 'a session had no path');
}

interface Summary {
  readonly runs: number;
  readonly direct: number;
  readonly kinds: Record<string, number>;
  readonly firstByteMs: number;
  readonly directMs: number | null;
}

function summary(meetings: readonly Meeting[]): Summary {
  const kinds: Record<string, number> = {};
  for (const { a } of meetings) kinds[a] = (kinds[a] ?? 0) + 1;
  const times = meetings.flatMap(({ directMs }) => directMs ?? []);
  return {
    runs: meetings.length,
    direct: meetings.filter(({ direct }) => direct).length,
    kinds,
    firstByteMs: median(meetings.map(({ firstByteMs }) => firstByteMs)),
    directMs: times.length > 0 ? median(times) : null,
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((x, y) => x - y)[Math.floor(values.length / 2)]!;
}

function oneLine({ a, b, directMs, firstByteMs, technique, reason }: Meeting): string {
  const way =
    technique === undefined ? `relayed: ${reason}` : `by ${technique}, ${directMs} ms after the answer`;
  return `A sends by ${a}, B by ${b}; first byte after ${firstByteMs} ms; ${way}`;
}

function words(
  { a, b, delayMs, runs, direct }: { a: string; b: string; delayMs: number; runs: number; direct: number },
  meetings: readonly Meeting[],
): string {
  const last = meetings.at(-1)!;
  const { udp, tcp } = last.counted.received;
  return [
    `${a} × ${b}, ${delayMs} ms per link: ${direct} of ${runs} direct`,
    oneLine(last),
    `direct paths up at A: ${last.kinds.join(', ') || 'none'}`,
    `A's NAT counted ${udp} bytes of UDP and ${tcp} of TCP from the other peer while 64 KiB were echoed`,
  ].join('\n');
}
