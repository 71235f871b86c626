import { expect, it } from 'vitest';
import { Turns } from '../../peer/turns.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { deferred } from '../../src/net/deferred.ts';

it('no more files than the limit are hashed at a time, whatever became of those before', async () => {
  const turns = new Turns(LIMITS.hashesAtOnce);
  const ends = Array.from({ length: 5 }, () => deferred<void>());
  const begun: number[] = [];
  const all = ends.map(({ promise }, n) =>
    turns.take(() => {
      begun.push(n);
      return promise;
    }),
  );
  const results = Promise.allSettled(all);
  expect(begun).toEqual([0, 1]);
  ends[1]!.reject(new Error('unreadable'));
  await expect(all[1]).rejects.toThrow('unreadable');
  expect(begun).toEqual([0, 1, 2]);
  for (const { resolve } of ends) resolve();
  await results;
  expect(begun).toEqual([0, 1, 2, 3, 4]);
});
