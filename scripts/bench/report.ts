import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { Figures, Outcome, RivalFigures } from './compare.ts';
import type { LinkOutcome, LinkResult } from './links.ts';

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

/** One thing that was counted, and the bound that it is held to. */
export interface Amount {
  readonly name: string;
  readonly value: number;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** A Markdown table, also fit for a terminal. */
export function table(outcomes: readonly Outcome[]): string {
  const rows = outcomes.flatMap(({ name, unit, ours, theirs }) => [
    [name, ours.name, `${ours.median} ${unit}`, '', wantedOfTail(ours), processorOf(ours)],
    ...theirs.map((each) => [
      '',
      each.name,
      `${each.median} ${unit}`,
      `${each.ratio}`,
      [wanted(each), tailOf(each)].filter((text) => text !== '').join('; '),
      processorOf(each) + middleOf(each),
    ]),
  ]);
  return markdown([['', '', 'median', 'ours ÷ theirs', 'wanted', 'processor'], ...rows]);
}

function markdown(all: readonly (readonly string[])[]): string {
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [line(all[0]!), rule, ...all.slice(1).map(line)].join('\n');
}

/** Streams, memory, idle. */
export function amountsTable(amounts: readonly Amount[]): string {
  const rows = amounts.map(({ name, value, atLeast, atMost }) => {
    const met = value >= (atLeast ?? -Infinity) && value <= (atMost ?? Infinity);
    const bound = atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`;
    return [name, `${Number(value.toPrecision(3))}`, `${bound} ${met ? '✓' : '✗'}`];
  });
  return markdown([['', '', 'wanted'], ...rows]);
}

/** The section of docs/benchmarks.md about this machine's loopback. */
export function loopbackSection(outcomes: readonly Outcome[], amounts: readonly Amount[]): string {
  const about = outcomes.map((outcome) => `- **${outcome.name}**: ${outcome.about}.`);
  return [
    '## On loopback',
    `${facts()}.`,
    table(outcomes),
    'Medians over the rounds. «Ours ÷ theirs» compares speeds within a round and is above 1 where we are faster. Processor: seconds per GiB, or milliseconds per connection or round trip, of the dialling, the listening and the middle process; «middle ×» is what ours takes in the middle for each second of theirs.',
    about.join('\n'),
    'Many streams on one session by TCP; memory that a process grows by for each idle thing, beside what it is made of; a command that waits.',
    amountsTable(amounts),
  ].join('\n\n');
}

/** A row for each that was tried, fit for a terminal too. */
export function linkTable(outcomes: readonly LinkOutcome[]): string {
  const rows = outcomes.flatMap(({ name, rttMs, lossPercent, rateMbit, results }) =>
    results.map((result, index) => [
      index === 0 ? `${name}: ${rttMs} ms, ${lossPercent} % loss, ${rateMbit} Mbit/s` : '',
      result.name,
      linkFigure(result),
      result.mbit === undefined ? '' : `${Math.round((100 * result.mbit) / rateMbit)} %`,
      result.wanted === undefined ? '' : `${result.wanted} ${result.met ? '✓' : '✗'}`,
    ]),
  );
  return markdown([['', '', '', 'of the link', 'wanted'], ...rows]);
}

/** The section of docs/benchmarks.md about emulated links. */
export function linkSection(outcomes: readonly LinkOutcome[]): string {
  return [
    '## Over emulated links',
    `${facts()} · TCP by ${tcpCongestionControl()}, its buffers up to 64 MiB.`,
    linkTable(outcomes),
    'Two network namespaces, a user-space wire between them with a drop-tail queue of one bandwidth-delay product; round trip, loss in each direction, rate with Ethernet headers. Relay, rendezvous and hyperdht’s DHT stand beside the listener, so that one leg has the whole link. One stream, one way, 5 s after a warm-up of 4 s and 20 round trips. «latency»: single bytes to and fro on one stream while another of the same session fills the link (on a second connection where there is no session).',
  ].join('\n\n');
}

/** A row for each link, a column for each that was tried. */
export function gridTable(outcomes: readonly LinkOutcome[]): string {
  const names = outcomes[0]?.results.map(({ name }) => name) ?? [];
  const rows = outcomes.map(({ rttMs, lossPercent, rateMbit, results }) => [
    `${rateMbit} Mbit/s`,
    `${rttMs} ms`,
    `${lossPercent} %`,
    ...results.map(({ mbit }) => (mbit === undefined ? '–' : `${mbit}`)),
  ]);
  return markdown([['rate', 'round trip', 'loss', ...names], ...rows]);
}

/** The section of docs/benchmarks.md with every link. */
export function gridSection(outcomes: readonly LinkOutcome[]): string {
  const about = `${facts()} · TCP by ${tcpCongestionControl()}. Mbit/s of the payload, by the same wire and in the same way as above; «–»: no result within a minute.`;
  return ['## Over every link', about, gridTable(outcomes)].join('\n\n');
}

/** docs/benchmarks.md with one section taken out of it and written anew. */
export function document(before: string, section: string): string {
  const title = section.slice(0, section.indexOf('\n'));
  const others = before
    .split(/^(?=## )/m)
    .filter((part) => part.startsWith('## ') && !part.startsWith(title));
  const sections = [section, ...others.map((part) => part.trim())];
  const place = (each: string): number => SECTIONS.findIndex((name) => each.startsWith(`## ${name}\n`));
  sections.sort((a, b) => place(a) - place(b));
  const head =
    '# Benchmarks\n\nWritten by `npm run bench -- --write` and `npm run bench -- --links --write`; each end ran in a process of its own.';
  return `${[head, ...sections].join('\n\n')}\n`;
}

function facts(): string {
  return Object.entries(circumstances())
    .map(([name, value]) => `${name} ${value}`)
    .join(' · ');
}

function tcpCongestionControl(): string {
  return readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim();
}

function linkFigure({ mbit, latency, failure }: LinkResult): string {
  if (latency !== undefined) return `${Math.round(latency.median)} ms, 95 % ≤ ${Math.round(latency.p95)} ms`;
  return mbit === undefined ? (failure ?? '') : `${mbit} Mbit/s`;
}

function wanted({ ratio, target }: RivalFigures): string {
  if (target === undefined) return '';
  return `≥ ${target} ${ratio >= target ? '✓' : '✗'}`;
}

function middleOf({ middle }: RivalFigures): string {
  if (!middle) return '';
  const { ratio, atMost } = middle;
  return `; middle × ${ratio}, wanted ≤ ${atMost} ${ratio <= atMost ? '✓' : '✗'}`;
}

/** Of a round trip: what 99 of 100 stay below. */
function tailOf({ tail }: Figures): string {
  return tail === undefined ? '' : `p99 ${tail} × median`;
}

/** That it is at most four times the median. */
function wantedOfTail(figures: Figures): string {
  const { tail } = figures;
  if (tail === undefined) return '';
  return `${tailOf(figures)}, ≤ ${TAIL_TARGET} ${tail <= TAIL_TARGET ? '✓' : '✗'}`;
}

function processorOf({ processor: { dial, listen, middle } }: Figures): string {
  return [dial, listen, middle].filter((value) => value !== undefined).join(' + ');
}

const TAIL_TARGET = 4;
/** Of docs/benchmarks.md, in their order. */
const SECTIONS = ['On loopback', 'Over emulated links', 'Over every link'];
