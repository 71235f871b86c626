/**
 * Side by side with others, on this machine, in this run:
 * `npm run bench -- [--only <name>]… [--mib <n>] [--rounds <n>] [--json] [--write]`
 *
 * One JSON object a line on stdout; a table on stderr, unless `--json`. `--write` puts the table into docs/benchmarks.md.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compare, type Outcome } from './compare.ts';
import { COMPARISONS } from './comparisons.ts';
import { circumstances, document, table } from './report.ts';

const SESSION = 'session';
const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    mib: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});
const settings = { bytes: Math.ceil(count('mib') / 4) * 4 * 1024 ** 2, rounds: count('rounds') };
const names = [...COMPARISONS.map(({ name }) => name), SESSION];
const asked = values.only ?? names;
const unknown = asked.find((name) => !names.includes(name));
if (unknown !== undefined) usage(`there is no ${unknown}; there are ${names.join(', ')}`);

print(circumstances());
const outcomes: Outcome[] = [];
for (const comparison of COMPARISONS) {
  if (!asked.includes(comparison.name)) continue;
  const outcome = await compare(comparison, settings);
  outcomes.push(outcome);
  print(outcome);
}
if (asked.includes(SESSION)) print({ name: SESSION, ...sessionAlone() });
if (!values.json) process.stderr.write(`\n${table(outcomes)}\n`);
if (values.write) writeFileSync(new URL('../../docs/benchmarks.md', import.meta.url), document(outcomes));

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Both ends of a session in one process, against the TLS that carries it. */
function sessionAlone(): object {
  const program = fileURLToPath(new URL('session.ts', import.meta.url));
  const args = ['--import', './scripts/ts.mjs', program, values.mib, values.rounds];
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  return JSON.parse(execFileSync(process.execPath, args, { cwd, encoding: 'utf8' })) as object;
}

function count(name: 'mib' | 'rounds'): number {
  const value = Number(values[name]);
  return Number.isInteger(value) && value > 0 ? value : usage(`--${name} takes a whole number above 0`);
}

function usage(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
