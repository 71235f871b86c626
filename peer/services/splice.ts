import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';

/**
 * Joins two byte streams in both directions. Each direction ends alone; an error or an early close of either
 * destroys both. Rejects with the first error.
 */
export async function splice(a: Duplex, b: Duplex): Promise<void> {
  a.pipe(b);
  b.pipe(a);
  try {
    await Promise.all([finished(a), finished(b)]);
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    a.destroy(error);
    b.destroy(error);
    throw error;
  }
}
