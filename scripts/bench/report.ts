import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { Figures, Outcome, RivalFigures } from './compare.ts';

/** Where and with what the figures were taken. */
export function circumstances(): Record<string, string> {
  const version = (name: string): string => {
    const manifest = new URL(`peers/node_modules/${name}/package.json`, import.meta.url);
    return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
  };
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} × ${cpus()[0]?.model ?? process.arch}, ${process.platform}`,
    node: process.versions.node,
    openssl: process.versions.openssl,
    hyperdht: version('hyperdht'),
    libp2p: version('libp2p'),
  };
}

/** A Markdown table, also fit for a terminal. */
export function table(outcomes: readonly Outcome[]): string {
  const rows = outcomes.flatMap(({ name, unit, ours, theirs }) => [
    [name, ours.name, `${ours.median} ${unit}`, '', '', processorOf(ours)],
    ...theirs.map((each) => [
      '',
      each.name,
      `${each.median} ${unit}`,
      `${each.ratio}`,
      wanted(each),
      processorOf(each),
    ]),
  ]);
  const all = [['', '', 'median', 'ours ÷ theirs', 'wanted', 'processor'], ...rows];
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [line(all[0]!), rule, ...all.slice(1).map(line)].join('\n');
}

/** docs/benchmarks.md */
export function document(outcomes: readonly Outcome[]): string {
  const facts = Object.entries(circumstances()).map(([name, value]) => `${name} ${value}`);
  const about = outcomes.map((outcome) => `- **${outcome.name}**: ${outcome.about}.`);
  return `${[
    '# Benchmarks',
    'Written by `npm run bench -- --write`; everything ran on loopback, each end in a process of its own.',
    `${facts.join(' · ')}.`,
    table(outcomes),
    'Medians over the rounds. «Ours ÷ theirs» compares speeds within a round and is above 1 where we are faster. Processor: seconds per GiB, or milliseconds per connection, of the dialling, the listening and the middle process.',
    about.join('\n'),
  ].join('\n\n')}\n`;
}

function wanted({ ratio, target }: RivalFigures): string {
  if (target === undefined) return '';
  return `≥ ${target} ${ratio >= target ? '✓' : '✗'}`;
}

function processorOf({ processor: { dial, listen, middle } }: Figures): string {
  return [dial, listen, middle].filter((value) => value !== undefined).join(' + ');
}
