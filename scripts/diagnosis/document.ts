import { markdown } from '../matrix/table.ts';
import type { Conditions, DiagnosisRow } from './measure.ts';

/** For a terminal and for docs/diagnosis.md. */
export function table(rows: readonly DiagnosisRow[]): string {
  const header = ['NAT', 'loss', 'runs', 'wrong', 'unknown', 'median ms', 'p90 ms', 'most ms', 'asked'];
  const cells = rows.map(({ nat, lossPercent, runs, wrong, unknown, planMs, allowedMs }) => [
    nat,
    `${lossPercent} %`,
    ...[runs, wrong, unknown, planMs.median, planMs.p90, planMs.most].map(String),
    lossPercent > 0 ? '–' : `≤ ${allowedMs}`,
  ]);
  return markdown([header, ...cells]);
}

/** What was wrong or unknown, and how often. */
export function remarks(rows: readonly DiagnosisRow[]): string {
  const lines = rows.flatMap(({ nat, lossPercent, wrongs, unknowns }) => {
    const line = (kind: string) => (entry: [string, number]) =>
      `- ${nat}, ${lossPercent} % loss: ${kind}${entry[0]} (${entry[1]})`;
    return [
      ...Object.entries(wrongs).map(line('**wrong**: ')),
      ...Object.entries(unknowns).map(line('unknown: ')),
    ];
  });
  return lines.join('\n') || 'None.';
}

/** docs/diagnosis.md */
export function document(rows: readonly DiagnosisRow[], { runs, delayMs }: Conditions): string {
  const diagnoses = rows.reduce((sum, row) => sum + row.runs, 0);
  const wrong = rows.reduce((sum, row) => sum + row.wrong, 0);
  return `# How well NATs are diagnosed

By \`npm run diagnosis -- --write\` over kernel NATs in network namespaces: ${runs} diagnoses of each NAT and loss, on new
sockets each, ${delayMs} ms one way on each access link (${2 * delayMs} ms to the server and back), loss per NAT and direction.
NATs are named as in [matrix.md](matrix.md). **${wrong} of ${diagnoses} diagnoses were wrong.**

Compared with the truth are, for UDP and for TCP: whether it gets out, mapping, filtering, port allocation, for UDP the
hairpin, for TCP what becomes of strays. _Wrong_ is any verdict that isn't the truth, _unknown_ any that could have been
told and was not, which loss excuses. The times are from the start until both transports' diagnoses are complete, when
a plan can be made from all that it needs.

${table(rows)}

## What was wrong or unknown

${remarks(rows)}
`;
}
