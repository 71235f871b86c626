import type { Cell } from './cell.ts';
import { EIGHT } from './pairs.ts';
import { grid, legend, list, remarks } from './table.ts';

export interface Conditions {
  readonly sim: boolean;
  readonly runs: number;
  readonly delayMs: number;
  readonly lossPercent: number;
  readonly seconds: number;
}

/** docs/matrix.md */
export function document(cells: readonly Cell[], conditions: Conditions): string {
  const { sim, runs, delayMs, lossPercent } = conditions;
  const inGrid = (cell: Cell) =>
    !cell.pair.includes('--') && [cell.a, cell.b].every((name) => EIGHT.some((nat) => nat === name));
  const where = sim
    ? 'In virtual time (`npm run matrix -- --sim --write`), each run from a seed of its own, with skew and clock offsets.'
    : 'By the real commands over kernel NATs in network namespaces (`npm run matrix -- --write`).';
  const special = cells.filter((cell) => !inGrid(cell));
  return `# Which NATs are passed, how, and how soon

${where} ${runs} runs of each pair, ${delayMs} ms one way on each access link (peer to server and back ${2 * delayMs} ms,
peer to peer and back ${4 * delayMs} ms), ${lossPercent} % loss per NAT and direction.

NATs are named by mapping/filtering behaviour (RFC 4787) and port allocation; \`+rst\` answers strays, \`+accept\` takes
them for its own, \`+crossing-…\` refuses simultaneous opens, \`+short\` forgets UDP mappings after 20 s, \`+pool\` has four
public addresses, \`+busy\` makes 20 mappings a second for others. \`cgnat-…\` is a carrier's NAT outside of an easy one.

*Time* is in milliseconds ${
    sim
      ? 'from the sending of the offer'
      : "from the calling peer's registration, upon which its offer leaves at once,"
  } until the later of the two ends has confirmed the
way: by an authenticated answer to a probe of its own (UDP), or by the connection (TCP)${sim ? ' once it is secured' : ''}. *Packets* are
probes and SYNs of the end that sent more, the median. *Success* is: both ends send on a direct path${
    sim ? '' : ', and the NATs counted the bytes'
  }; where
theory allows no direct path: relayed, with the reason. Each run is between peers that never met.

## 8 × 8

${grid(EIGHT, cells.filter(inGrid))}

${legend(cells)}. Where not every run succeeded, the share is given.

${list(cells.filter(inGrid))}

${special.length === 0 ? '' : `## Special NATs\n\n${list(special)}\n\n`}## Reasons and shortfalls

${remarks(cells) || 'None.'}
`;
}
