import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { exitCodeOf } from '../../src/cli/exit-codes.ts';
import { ERROR_CODES } from '../../src/core/errors.ts';

/** Each heading of docs/errors.md that is a code, with the exit status that stands under it. */
const documented = new Map(
  [...page().matchAll(/^### ([A-Z_]+)\n\nExit status: (\d)$/gm)].map(([, code, status]) => [
    code,
    Number(status),
  ]),
);

describe('docs/errors.md', () => {
  it.each(ERROR_CODES)('says what to do about %s, and its exit status', (code) => {
    expect(documented.get(code)).toBe(exitCodeOf(code));
  });

  it('documents no code that does not exist, and each in the order of the source', () => {
    expect([...documented.keys()]).toEqual([...ERROR_CODES]);
  });
});

function page(): string {
  return readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
}
