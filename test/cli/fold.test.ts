import { describe, expect, it } from 'vitest';
import { folded } from '../../src/cli/fold.ts';

describe('a report that is wider than the terminal', () => {
  it('is broken below its second column', () => {
    expect(folded('  full cone     UDP by simultaneous probes (89 %), TCP by direct dial (98 %)', 50)).toBe(
      [
        '  full cone     UDP by simultaneous probes (89 %),',
        '                TCP by direct dial (98 %)',
      ].join('\n'),
    );
  });

  it('has that below the first one where there is no room beside it', () => {
    expect(folded('  full cone     UDP by simultaneous probes (89 %), TCP by direct dial (98 %)', 39)).toBe(
      '  full cone\n      UDP by simultaneous probes\n      (89 %), TCP by direct dial (98 %)',
    );
  });

  it('is broken between words, with what follows indented', () => {
    const words = 'Note: a filter may be more open than it looks.\nshort';
    expect(folded(words, 24)).toBe('Note: a filter may be\n  more open than it\n  looks.\nshort');
  });

  it('keeps ids and URLs whole', () => {
    const id = 'a'.repeat(52);
    expect(folded(`this peer is ${id} now`, 30)).toBe(`this peer is\n  ${id}\n  now`);
  });

  it('keeps a share and its sign together', () => {
    expect(folded('true in most cases, 98 % of them', 23)).toBe('true in most cases,\n  98 % of them');
  });

  it('is left alone where nobody knows how wide that is', () => {
    const words = 'word '.repeat(100);
    expect(folded(words, 0)).toBe(words);
    expect(folded(words, 1_000)).toBe(words);
  });
});
