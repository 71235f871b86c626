/**
 * Side by side with others, on this machine, in this run:
 * `npm run bench -- [--only <name>]… [--mib <n>] [--rounds <n>] [--json] [--write]`
 * `npm run bench -- --links [--grid] [--only <name>]… [--rounds <n>] [--json] [--write]` the same over emulated links
 *
 * One JSON object a line on stdout; a table on stderr, unless `--json`. `--write` puts the table into its section of
 * docs/benchmarks.md.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compare, type Outcome } from './compare.ts';
import { COMPARISONS, LEFT_OUT } from './comparisons.ts';
import { GRID, tryLink, TRIALS, type LinkOutcome } from './links.ts';
import { START, start } from './start.ts';
import {
  amountsTable,
  circumstances,
  document,
  gridSection,
  gridTable,
  linkSection,
  linkTable,
  loopbackSection,
  table,
  type Amount,
} from './report.ts';

/** Measured by programs of their own, which print one JSON object. */
const PROGRAMS = {
  /** Both ends of a session in one process, against the TLS that carries it. */
  session: () => ['--import', './scripts/ts.mjs', 'scripts/bench/session.ts', values.mib, values.rounds],
  /** 100 and 1,000 streams of a session against one, and 99 beside one that nobody reads. */
  streams: () => ['scripts/bench/streams.mjs'],
  /** What idle sessions, streams and forwarded connections hold. */
  memory: () => ['scripts/bench/memory.mjs'],
  /** What `peer up` takes while nobody wants anything of it. */
  idle: () => ['--import', './scripts/ts.mjs', 'scripts/bench/idle.ts'],
};
const FORM =
  'npm run bench -- [--links [--grid]] [--only <name>]… [--mib <n>] [--rounds <n>] [--json] [--write]';
const values = options();
const settings = { bytes: Math.ceil(count('mib') / 4) * 4 * 1024 ** 2, rounds: count('rounds') };
const trials = values.grid ? GRID : TRIALS;
const names = values.links
  ? trials.map(({ name }) => name)
  : [...COMPARISONS.map(({ name }) => name), START, ...Object.keys(PROGRAMS)];
const asked = values.only ?? names;
const unknown = asked.find((name) => !names.includes(name));
if (unknown !== undefined) usage(`there is no ${unknown}; there are ${names.join(', ')}`);

print(circumstances());
await (values.links ? overLinks() : onLoopback());

async function onLoopback(): Promise<void> {
  for (const leftOut of LEFT_OUT) print({ leftOut });
  const outcomes: Outcome[] = [];
  for (const comparison of COMPARISONS) {
    if (!asked.includes(comparison.name)) continue;
    const outcome = await compare(comparison, settings);
    outcomes.push(outcome);
    print(outcome);
  }
  if (asked.includes(START)) {
    const starts = await start(settings.rounds);
    starts.forEach(print);
    outcomes.push(...starts);
  }
  const amounts: Amount[] = [];
  for (const [name, args] of Object.entries(PROGRAMS)) {
    if (!asked.includes(name)) continue;
    const said = run(args());
    print({ name, ...said });
    amounts.push(...(said.figures ?? []));
  }
  conclude(`${table(outcomes)}\n\n${amountsTable(amounts)}`, loopbackSection(outcomes, amounts));
}

async function overLinks(): Promise<void> {
  const outcomes: LinkOutcome[] = [];
  for (const trial of trials) {
    if (!asked.includes(trial.name)) continue;
    const outcome = await tryLink(trial, settings.rounds);
    outcomes.push(outcome);
    print(outcome);
  }
  if (values.grid) conclude(gridTable(outcomes), gridSection(outcomes));
  else conclude(linkTable(outcomes), linkSection(outcomes));
}

function conclude(shown: string, section: string): void {
  if (!values.json) process.stderr.write(`\n${shown}\n`);
  if (!values.write) return;
  const file = new URL('../../docs/benchmarks.md', import.meta.url);
  writeFileSync(file, document(readFileSync(file, 'utf8'), section));
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function run(args: string[]): { figures?: Amount[] } {
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  return JSON.parse(execFileSync(process.execPath, args, { cwd, encoding: 'utf8' })) as {
    figures?: Amount[];
  };
}

function options() {
  try {
    return parseArgs({
      options: {
        only: { type: 'string', multiple: true },
        mib: { type: 'string', default: '512' },
        rounds: { type: 'string', default: '3' },
        links: { type: 'boolean', default: false },
        grid: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        write: { type: 'boolean', default: false },
      },
    }).values;
  } catch (thrown) {
    return usage(`${(thrown as Error).message}; ${FORM}`);
  }
}

function count(name: 'mib' | 'rounds'): number {
  const value = Number(values[name]);
  return Number.isInteger(value) && value > 0 ? value : usage(`--${name} takes a whole number above 0`);
}

function usage(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
