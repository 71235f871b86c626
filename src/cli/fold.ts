/** Of a second column that is to stay beside the first. */
const MIN_COLUMN = 24;

/**
 * A report's lines, broken between words where they are wider than the terminal: below their second column, if there is room beside the
 * first, else indented. What goes into a file or a pipe stays as it is.
 */
export function folded(report: string, columns = process.stdout.isTTY ? process.stdout.columns : 0): string {
  if (!columns) return report; // also of a terminal that doesn't know its width
  return report
    .split('\n')
    .map((line) => (line.length > columns ? foldedLine(line, columns) : line))
    .join('\n');
}

function foldedLine(line: string, columns: number): string {
  const [, lead = '', first = '', rest = ''] = /^( *)(\S.* {2,})?(.*)$/.exec(line) ?? [];
  const start = lead + first;
  if (first === '') return wrapped(rest, lead, `${lead}  `, columns);
  if (columns - start.length >= MIN_COLUMN) return wrapped(rest, start, ' '.repeat(start.length), columns);
  const indent = `${lead}    `;
  return `${start.trimEnd()}\n${wrapped(rest, indent, indent, columns)}`;
}

/** A word that is longer than a line stays whole: it may be an id or a URL. So does `98 %`. */
function wrapped(words: string, start: string, indent: string, columns: number): string {
  const [first = '', ...rest] = words.split(/ (?!%)/);
  const lines: string[] = [];
  let line = start + first;
  for (const word of rest) {
    const next = `${line} ${word}`;
    if (next.length <= columns) {
      line = next;
    } else {
      lines.push(line);
      line = indent + word;
    }
  }
  return [...lines, line].join('\n');
}
