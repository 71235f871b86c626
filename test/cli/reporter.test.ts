import { afterEach, describe, expect, it, vi } from 'vitest';
import { Reporter } from '../../src/cli/reporter.ts';

describe('the line that is redrawn', () => {
  const before = { isTTY: process.stderr.isTTY, columns: process.stderr.columns };
  afterEach(() => {
    Object.assign(process.stderr, before);
    vi.restoreAllMocks();
  });

  it.each([8, 20, 80])('fits a terminal of %d columns: one that wraps is never taken away', (columns) => {
    Object.assign(process.stderr, { isTTY: true, columns });
    const written: string[] = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0);
    new Reporter().live('x'.repeat(200));
    expect(written).toEqual([`\r\x1b[K${'x'.repeat(columns - 1)}`]);
  });
});
