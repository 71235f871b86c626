// npm run matrix [-- --runs <n>] [--only <words>]… [--sim] [--loss <pct>] [--skew <ms>] [--json] [--write]
// Every pair of NATs, by the real commands over kernel NATs or in virtual time: what it is passed by, how often, how soon.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { integerBetween, runCommandLine } from '../src/cli/run.ts';
import { SallyportError } from '../src/core/errors.ts';
import { cellOf, failedRun, usualTechnique, type Cell, type Run } from './matrix/cell.ts';
import { document } from './matrix/document.ts';
import { meetOverKernel } from './matrix/kernel.ts';
import { EIGHT, eightByEight, specialPairs, type Pair } from './matrix/pairs.ts';
import { canBeSimulated, meetInVirtualTime } from './matrix/simulated.ts';
import { grid, legend, list, remarks } from './matrix/table.ts';

interface MatrixOptions {
  runs: number;
  only: string[];
  delay: number;
  loss?: number;
  skew: number;
  special?: boolean;
  clockOffset?: number;
  sim?: boolean;
  json?: boolean;
  write?: boolean;
}

const upToADay = integerBetween(0, 86_400_000);

const program = new Command('matrix')
  .description('every pair of NATs: technique, success, time until direct, packets')
  .option('--runs <n>', 'how often each pair meets', integerBetween(1, 100_000), 20)
  .option(
    '--only <words>',
    'only pairs whose name has these words (repeatable)',
    (words: string, before: string[]) => [...before, words],
    [],
  )
  .option('--delay <ms>', 'one way of each access link', integerBetween(0, 2_000), 20)
  .option('--loss <percent>', 'loss per NAT and direction', integerBetween(0, 90))
  .option('--skew <ms>', 'most that the ends begin apart', integerBetween(0, 1_000), 0)
  .option(
    '--clock-offset <ms>',
    "what the called end's time of day is ahead, or behind if negative; over kernel NATs",
    (text: string) => (text.startsWith('-') ? -upToADay(text.slice(1)) : upToADay(text)),
  )
  .option('--no-special', 'only the table of 8 × 8')
  .option('--sim', 'in virtual time, with skew and clock offsets; each run another seed')
  .option('--json', 'one JSON object on stdout')
  .option('--write', 'writes docs/matrix.md')
  .action(matrix);

await runCommandLine(program, process.argv.slice(2));

async function matrix(options: MatrixOptions): Promise<void> {
  const { only, special, sim, json, write } = options;
  const began = performance.now();
  const wanted = [...eightByEight, ...(special ? specialPairs : [])]
    .filter(({ name }) => only.length === 0 || only.some((words) => name.includes(words)))
    .filter((pair) => !sim || canBeSimulated(pair));
  const cells: Cell[] = [];
  for (const pair of wanted) {
    const cell = cellOf(pair, await runsOf(pair, options, `${cells.length + 1}/${wanted.length}`));
    cells.push(cell);
    if (!json) process.stdout.write(`${line(cell)}\n`);
  }
  const seconds = Math.round((performance.now() - began) / 1000);
  const conditions = { runs: options.runs, delayMs: options.delay, lossPercent: options.loss ?? 0, seconds };
  if (json) process.stdout.write(`${JSON.stringify({ sim: sim === true, ...conditions, cells })}\n`);
  else
    process.stdout.write(
      `\n${[grid(EIGHT, cells), legend(cells), list(cells), remarks(cells)].join('\n\n')}\n`,
    );
  if (write) {
    const path = fileURLToPath(new URL('../docs/matrix.md', import.meta.url));
    writeFileSync(path, document(cells, { ...conditions, sim: sim === true }));
  }
  const short = cells.filter(({ good, runs }) => good < runs).length;
  if (short > 0) throw new SallyportError('INTERNAL', `${short} of ${cells.length} pairs fall short`);
}

async function runsOf(
  pair: Pair,
  { runs, delay, loss, skew, clockOffset, sim }: MatrixOptions,
  which: string,
): Promise<Run[]> {
  const say = (run: Run | undefined, number: number) =>
    progress(`${which} ${pair.name}: ${number}/${runs}`, run);
  say(undefined, 0);
  const conditions = { runs, delayMs: delay, lossPercent: loss, skewMs: skew, clockOffsetMs: clockOffset };
  try {
    return await (sim ? meetInVirtualTime : meetOverKernel)(pair, conditions, say);
  } catch (thrown) {
    return [failedRun((thrown as Error).message)];
  } finally {
    progress('');
  }
}

/** One line that replaces itself, for whoever watches; what falls short stays. */
function progress(words: string, run?: Run): void {
  if (!process.stderr.isTTY) return;
  const clear = '\r\u001B[2K';
  if (run?.shortfall !== undefined)
    process.stderr.write(`${clear}  ${words}: ${run.shortfall.split('\n')[0]}\n`);
  process.stderr.write(`${clear}${words}`);
}

function line(cell: Cell): string {
  const { pair, good, runs, medianMs, p90Ms, packets, shortfalls } = cell;
  const how = usualTechnique(cell) ?? 'relay';
  const when = medianMs === null ? '' : `, ${medianMs} ms (p90 ${p90Ms}), ${packets} packets`;
  const why = [...new Set(shortfalls)].map((words) => `\n    ${words.split('\n')[0]}`).join('');
  return `${pair}: ${how}, ${good} of ${runs}${when}${why}`;
}
