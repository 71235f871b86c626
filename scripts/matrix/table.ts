import type { NatName } from '../../test/netns/lab.ts';
import { usualTechnique, type Cell } from './cell.ts';

/** Letters for the grid. */
const LETTERS: Record<string, string> = {
  'local addresses': 'L',
  'mapped port': 'M',
  'simultaneous probes': 'S',
  'peer-reflexive answer': 'R',
  'port prediction': 'P',
  birthday: 'B',
  'direct dial': 'D',
  'reversed dial': 'V',
  'simultaneous open': 'O',
  'connect then listen': 'C',
};

/** Rows call, columns are called: technique, successes where not all, and the median in milliseconds. */
export function grid(names: readonly NatName[], cells: readonly Cell[]): string {
  const cellAt = (a: string, b: string) => cells.find((cell) => cell.a === a && cell.b === b);
  const rows = names.map((a) => [
    `**${a}**`,
    ...names.map((b) => {
      const cell = cellAt(a, b);
      return cell ? brief(cell) : '';
    }),
  ]);
  return markdown([['', ...names], ...rows]);
}

export function legend(cells: readonly Cell[]): string {
  const used = new Set(cells.flatMap(({ techniques }) => Object.keys(techniques)));
  const letters = [...used].map((technique) => `${letterOf(technique)} ${technique}`);
  return [...letters, '– relay'].join(' · ');
}

export function list(cells: readonly Cell[]): string {
  const header = ['pair', 'technique', 'success', 'median ms', 'p90 ms', 'packets'];
  const rows = cells.map((cell) => [
    cell.pair,
    Object.keys(cell.techniques).length === 0 ? 'relay' : techniques(cell),
    `${cell.good} of ${cell.runs}`,
    String(cell.medianMs ?? '–'),
    String(cell.p90Ms ?? '–'),
    String(cell.packets),
  ]);
  return markdown([header, ...rows]);
}

/** Every reason that was given for what is relayed, and whatever went wrong. */
export function remarks(cells: readonly Cell[]): string {
  const lines = cells.flatMap(({ pair, best, reasons, shortfalls }) => [
    ...(best === 'relay' ? reasons.map((reason) => `- ${pair}: relayed: ${reason}`) : []),
    ...[...new Set(shortfalls)].map((words) => `- ${pair}: **falls short**: ${words.split('\n')[0]}`),
  ]);
  return lines.join('\n');
}

function techniques({ techniques }: Cell): string {
  const entries = Object.entries(techniques).toSorted(([, x], [, y]) => y - x);
  if (entries.length === 1) return entries[0]![0];
  return entries.map(([technique, count]) => `${technique} ${count}`).join(', ');
}

function brief(cell: Cell): string {
  const technique = usualTechnique(cell);
  const success = cell.good === cell.runs ? '' : ` ${cell.good}/${cell.runs}`;
  if (technique === undefined) return `–${success}`;
  return `${letterOf(technique)}${success} ${cell.medianMs ?? '?'}`;
}

function letterOf(technique: string): string {
  return LETTERS[technique] ?? technique;
}

/** Also fit for a terminal. */
export function markdown(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(3, ...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((text, column) => text.padEnd(widths[column]!)).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(rows[0]!), rule, ...rows.slice(1).map(line)].join('\n');
}
