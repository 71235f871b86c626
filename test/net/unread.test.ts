import { expect, it } from 'vitest';
import { Unread } from '../../src/net/unread.ts';
import { pattern } from '../core/session/pair.ts';

it('gives back everything in order, in however small pieces it came', () => {
  const bytes = pattern(300_000);
  const unread = new Unread();
  const taken: Uint8Array[] = [];
  for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7) % 9_001) {
    unread.push(bytes.subarray(at, at + size));
    if (size % 5 === 0) taken.push(unread.shift()!);
  }
  while (!unread.isEmpty) taken.push(unread.shift()!);
  expect(unread.shift()).toBeUndefined();
  expect(Buffer.concat(taken).equals(bytes)).toBe(true);
});

it('keeps none of the chunks that small pieces came in, nor a record for each', () => {
  const unread = new Unread();
  const chunk = Buffer.allocUnsafeSlow(16_384);
  for (let pieces = 0; pieces < 100_000; pieces += 1)
    unread.push(chunk.subarray(pieces % 16_384, (pieces % 16_384) + 1));
  const kept: Uint8Array[] = [];
  while (!unread.isEmpty) kept.push(unread.shift()!);
  expect(kept.length).toBeLessThan(50);
  expect(kept.some(({ buffer }) => buffer === chunk.buffer)).toBe(false);
});
