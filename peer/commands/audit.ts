import type { Reporter } from '../../src/cli/reporter.ts';
import type { StreamRecord } from '../services/serve.ts';
import { shortId } from './shared.ts';

/** One line for each stream that a peer opened here. */
export function reportStream(record: StreamRecord, reporter: Reporter): void {
  const { peer, what, state, reason, sent, received } = record;
  const bytes = state === 'closed' ? ` (${sent} bytes out, ${received} in)` : '';
  const why = reason === undefined ? '' : `: ${reason}`;
  reporter.event('stream', { ...record }, `stream to ${what} for ${shortId(peer)} ${state}${bytes}${why}`);
}
