import { writeSync } from 'node:fs';

/**
 * Writes all of it: of what doesn't fit on a disk, or into a quota, the system takes what does, and that is no failure until one tries to
 * write the rest.
 */
export function writeWhole(file: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length;) written += writeSync(file, bytes, written);
}

export function isDiskFull(thrown: unknown): boolean {
  const { code } = thrown as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}
