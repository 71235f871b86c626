import { describe, expect, it } from 'vitest';
import { CandidatePair } from '../../../src/core/punch/pair.ts';

describe('a candidate pair', () => {
  it.each([
    ['127.0.0.1', true],
    ['::1', true],
    ['192.168.1.2', false],
    ['198.51.100.7', false],
  ])('to %s is the nearest that there can be: %s', (address, nearest) => {
    expect(new CandidatePair(0, { address, port: 40_000 }, 'srflx', true).isNearest).toBe(nearest);
  });
});
