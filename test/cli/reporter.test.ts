import { afterEach, describe, expect, it, vi } from 'vitest';
import { Reporter } from '../../src/cli/reporter.ts';

describe('the line that is redrawn', () => {
  const before = { isTTY: process.stderr.isTTY, columns: process.stderr.columns };
  afterEach(() => {
    Object.assign(process.stderr, before);
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
  });

  function writtenOn(terminal: string, columns: number): string[] {
    vi.stubEnv('TERM', terminal);
    Object.assign(process.stderr, { isTTY: true, columns });
    const written: string[] = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0);
    new Reporter().live('x'.repeat(200));
    return written;
  }

  it.each([8, 20, 80])('fits a terminal of %d columns: one that wraps is never taken away', (columns) => {
    expect(writtenOn('xterm', columns)).toEqual([`\r\x1b[K${'x'.repeat(columns - 1)}`]);
  });

  it('is left out where the terminal can not redraw it', () => {
    expect(writtenOn('dumb', 80)).toEqual([]);
  });
});
