import { posix, win32 } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SallyportError } from '../../../src/core/errors.ts';
import { checkPath, fileKey, partName } from '../../../src/core/transfer/name.ts';

function taken(path: readonly string[], windows = false): boolean {
  return refusal(path, windows) === undefined;
}

function refusal(path: readonly string[], windows: boolean): unknown {
  try {
    checkPath(path, windows);
  } catch (thrown) {
    return (thrown as SallyportError).code;
  }
}

describe('a path that a sender names', () => {
  it('is taken when every part is a name', () => {
    for (const path of [['a'], ['a', 'b.c'], ['.hidden'], ['..a'], ['grüße 你好 🦊'], ['aux.c'], ['a b']]) {
      expect(taken(path)).toBe(true);
    }
  });

  it.each([
    ['up', ['..', 'a']],
    ['up, further down', ['a', '..', '..', 'b']],
    ['here', ['.']],
    ['an empty name', ['a', '', 'b']],
    ['an absolute path', ['/etc/passwd']],
    ['a separator', ['a/b']],
    ["Windows' separator", ['..\\..\\b']],
    ['a drive', ['C:evil']],
    ['a zero byte', ['a\0b']],
    ['a new line', ['a\nb']],
    ['an escape', ['\x1b[2J']],
    ['text turned round', ['gpj.\u202eexe']],
    ['half a character', ['\ud800']],
    ['a name too long', ['a'.repeat(256)]],
    ["a part's name", ['a', partName('x', 'abcdef27')]],
    ["a part's name in capitals", [partName('x', 'abcdef27').toUpperCase()]],
    [
      "a part's name with something unseen in it",
      [partName('x', 'abcdef27').replace('.part', '.pa\u200drt')],
    ],
  ])('is refused when it has %s', (_, path) => {
    expect(refusal(path, false)).toBe('FILE_REFUSED');
  });

  it.each(['CON', 'nul.txt', 'COM1', 'lpt9.log', 'a:b', 'a?', 'a.', 'a ', 'a*b', '"', 'Aux'])(
    'is refused on Windows when it is %s',
    (name) => expect(refusal([name], true)).toBe('FILE_REFUSED'),
  );

  it('never leaves the folder that it is put into, on any system', () => {
    const nasty = fc.array(fc.constantFrom('..', '.', '/', '\\', 'a', ':', 'C:', '\0', ' '), {
      maxLength: 4,
    });
    const name = fc.oneof(
      fc.string({ unit: 'binary' }),
      nasty.map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 5 }), fc.boolean(), (path, windows) => {
        fc.pre(taken(path, windows));
        expect(posix.join('/base', ...path)).toBe(`/base/${path.join('/')}`);
        expect(win32.resolve('C:\\base', ...path).startsWith('C:\\base\\')).toBe(true);
      }),
    );
  });
});

describe('the name of a part', () => {
  it('is beside the final one, never longer than a name may be, and cuts no character', () => {
    expect(partName('film.mkv', 'abc')).toBe('film.mkv.abc.part');
    const long = partName('ü'.repeat(127), 'abcdefgh');
    expect(Buffer.byteLength(long)).toBeLessThanOrEqual(255);
    expect(long).toMatch(/^ü+\.abcdefgh\.part$/);
  });
});

describe('the key of a file', () => {
  it.each([
    ['letters of both cases', 'dir/A', 'Dir/a'],
    ['a letter with its accent, and one beside it', 'caf\u00e9', 'cafe\u0301'],
    ['one letter and two', 'stra\u00dfe', 'STRASSE'],
    ['a capital of which there are two', '\u1e9e', '\u00df'],
    ['what can be seen, and more that can not', 'a\u200db', 'ab'],
  ])('is the same for %s', (_, one, other) => expect(fileKey(one)).toBe(fileKey(other)));

  it('is another for other names', () => {
    expect(new Set(['a', 'b', 'a/b', 'ab', 'e', '\u00e9', 'ss', 's'].map(fileKey)).size).toBe(8);
  });
});
