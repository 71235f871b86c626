// npm run campaign [-- --runs <n>] [--only <words>]… [--size <mib>] [--idle <s>] [--json]
// The acceptance table of the main job, on real kernel NATs with the real commands: one JSON line per row on stdout, and the table.
import { Command } from 'commander';
import { integerBetween, runCommandLine } from '../src/cli/run.ts';
import { SallyportError } from '../src/core/errors.ts';
import { meetingExercises } from './campaign/meetings.ts';
import { currentLoad, type Exercise, type Figures, type Row } from './campaign/row.ts';
import { signallingExercise } from './campaign/signalling.ts';
import { stayingExercises } from './campaign/staying.ts';
import { survivalExercises } from './campaign/survival.ts';
import { transferExercise } from './campaign/transfer.ts';

interface CampaignOptions {
  runs: number;
  only: string[];
  size: number;
  idle: number;
  json?: boolean;
}

const exercises: readonly Exercise[] = [
  ...meetingExercises,
  signallingExercise,
  transferExercise,
  ...stayingExercises,
  ...survivalExercises,
];

const program = new Command('campaign')
  .description('the acceptance table, on real kernel NATs with the real commands')
  .option('--runs <n>', 'how often each pair meets', integerBetween(1, 1_000), 20)
  .option(
    '--only <words>',
    'only exercises whose name has these words (repeatable)',
    (words: string, before: string[]) => [...before, words],
    [],
  )
  .option('--size <mib>', 'of each transfer, each way', integerBetween(8, 4_096), 256)
  .option('--idle <s>', 'how long nothing is said behind NATs that forget', integerBetween(1, 3_600), 600)
  .option('--json', 'no table')
  .action(campaign);

await runCommandLine(program, process.argv.slice(2));

async function campaign({ runs, only, size, idle, json }: CampaignOptions): Promise<void> {
  const wanted = exercises.filter(
    ({ name }) => only.length === 0 || only.some((words) => name.includes(words)),
  );
  const estimate = wanted.reduce((sum, { estimatedSeconds = 0 }) => sum + estimatedSeconds * runs, 0);
  if (estimate > 0) process.stderr.write(`about ${Math.ceil(estimate / 60)} minutes at the full size\n`);
  const rows: Row[] = [];
  const report = (figures: Figures) => {
    const row = { ...figures, load: currentLoad() };
    rows.push(row);
    process.stdout.write(`${JSON.stringify(row)}\n`);
  };
  for (const exercise of wanted) {
    const { name } = exercise;
    const say = (words: string) => process.stderr.isTTY && process.stderr.write(`  ${name}: ${words}\n`);
    try {
      await exercise.run({ runs, bytes: size * 1024 * 1024, idleSeconds: idle, report, say });
    } catch (thrown) {
      report({ row: name, asked: 'an answer', reached: (thrown as Error).message, ok: false });
    }
  }
  if (!json) process.stdout.write(`\n${table(rows)}\n`);
  const failed = rows.filter(({ ok }) => !ok).length;
  if (failed > 0) throw new SallyportError('INTERNAL', `${failed} of ${rows.length} rows fall short`);
}

/** A Markdown table, also fit for a terminal. */
function table(rows: readonly Row[]): string {
  const cells = rows.map(({ row, asked, reached, ok, load }) => [
    row,
    asked,
    reached,
    ok ? 'ok' : 'NO',
    `${load}`,
  ]);
  const all = [['', 'asked', 'reached', 'ok', 'load'], ...cells];
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [line(all[0]!), rule, ...all.slice(1).map(line)].join('\n');
}
