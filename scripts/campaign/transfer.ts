import { transferAcrossPaths } from '../../test/netns/transfer.ts';
import type { Exercise } from './row.ts';

const DELAY_MS = 5;
const STALL_WITHIN_MS = 3_000;

export const transferExercise: Exercise = {
  name: 'transfer while the path changes',
  async run({ bytes, report }) {
    const transfer = await transferAcrossPaths({ a: 'ei/apd', b: 'ei/apd', delayMs: DELAY_MS, bytes });
    const worst = Math.max(...transfer.changes.map(({ stallMs }) => stallMs));
    const mebibytes = bytes / 1024 / 1024;
    report({
      row: `${mebibytes} MiB each way, relay → direct → cut → relay → direct`,
      asked: `SHA-256 equal, stall ≤ ${STALL_WITHIN_MS} ms`,
      reached: `${transfer.equal ? 'equal' : 'NOT equal'}, ${worst} ms`,
      ok: transfer.equal && worst <= STALL_WITHIN_MS,
      seconds: Math.round(transfer.seconds),
      changes: transfer.changes,
    });
  },
};
