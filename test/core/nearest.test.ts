import { describe, expect, it } from 'vitest';
import { nearest } from '../../src/core/nearest.ts';

describe('the word that was meant', () => {
  const words = ['paths', 'signal', 'acceptName', 'timeoutMs', 'open'];

  it.each([
    ['path', 'paths'],
    ['PATHS', 'paths'],
    ['singal', 'signal'],
    ['accept_name', 'acceptName'],
    ['timeout', 'timeoutMs'],
  ])('instead of %s is %s', (written, meant) => {
    expect(nearest(written, words)).toBe(meant);
  });

  it.each(['', 'on', 'services', 'name', 'x'.repeat(1e6)])('is none of them where it is %.20j', (written) => {
    expect(nearest(written, words)).toBeUndefined();
  });

  it('is the nearest of several', () => {
    expect(nearest('name', ['named', 'names', 'game', 'name2', 'name'])).toBe('name');
  });
});
