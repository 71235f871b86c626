// npm run diagnosis [-- --runs <n>] [--only <words>]… [--loss <pct>]… [--parallel <n>] [--json] [--write]
// Every laboratory NAT, diagnosed again and again and compared with what it is: one JSON line each on stdout, and the table.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { integerBetween, runCommandLine } from '../src/cli/run.ts';
import { SallyportError } from '../src/core/errors.ts';
import { NAT_NAMES, natOf, type NatName } from '../test/netns/nats.ts';
import { document, remarks, table } from './diagnosis/document.ts';
import { diagnose, type DiagnosisRow } from './diagnosis/measure.ts';

interface DiagnosisOptions {
  runs: number;
  only: string[];
  loss?: number[];
  delay: number;
  parallel: number;
  json?: boolean;
  write?: boolean;
}

/** NATs with something special, beside those of the table. */
const SPECIAL: readonly NatName[] = [
  'ei/apd+rst',
  'ei/ad+rst',
  'ei/apd+accept',
  'ei/apd+crossing-drop',
  'ei/apd+crossing-rst',
  'ei/apd+short',
  'ei/apd+pool',
  'apd/apd-random+pool',
  'apd/apd-sequential+busy',
];

const program = new Command('diagnosis')
  .description('every laboratory NAT, diagnosed and compared with what it is')
  .option('--runs <n>', 'how often each NAT is diagnosed', integerBetween(1, 1_000), 50)
  .option('--only <words>', 'only NATs whose name has these words (repeatable)', collected, [])
  .option('--loss <percent>', 'per NAT and direction (repeatable), by default 0 and 10', numbers)
  .option('--delay <ms>', 'one way of each access link', integerBetween(0, 2_000), 20)
  .option('--parallel <n>', 'laboratories at a time', integerBetween(1, 16), 4)
  .option('--json', 'no table')
  .option('--write', 'writes docs/diagnosis.md')
  .action(diagnosis);

await runCommandLine(program, process.argv.slice(2));

async function diagnosis(options: DiagnosisOptions): Promise<void> {
  const { runs, only, loss = [0, 10], delay, parallel, json, write } = options;
  const nats = [...NAT_NAMES.filter(hasIPv4), ...SPECIAL].filter(
    (name) => only.length === 0 || only.some((words) => name.includes(words)),
  );
  const wanted = nats.flatMap((nat) => loss.map((lossPercent) => ({ nat, lossPercent })));
  const rows: DiagnosisRow[] = [];
  const queue = wanted.entries();
  const work = async () => {
    for (const [index, { nat, lossPercent }] of queue) {
      const row = await diagnose(nat, { runs, delayMs: delay, lossPercent });
      rows[index] = row;
      process.stdout.write(`${JSON.stringify(row)}\n`);
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  if (!json) process.stdout.write(`\n${table(rows)}\n\n${remarks(rows)}\n`);
  if (write) {
    const path = fileURLToPath(new URL('../docs/diagnosis.md', import.meta.url));
    writeFileSync(path, document(rows, { runs, delayMs: delay, lossPercent: 0 }));
  }
  const short = rows.filter(({ ok }) => !ok).length;
  if (short > 0) throw new SallyportError('INTERNAL', `${short} of ${rows.length} rows fall short`);
}

/** What is measured over IPv6 has no NAT in its way. */
function hasIPv4(name: NatName): boolean {
  return natOf(name).ipv6 !== 'only';
}

function collected(words: string, before: string[]): string[] {
  return [...before, words];
}

function numbers(text: string, before: number[] = []): number[] {
  return [...before, integerBetween(0, 90)(text)];
}
