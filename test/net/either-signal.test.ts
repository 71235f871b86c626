import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { deferred } from '../../src/net/deferred.ts';
import { withEither } from '../../src/net/either-signal.ts';

describe('work that either of two signals calls off', () => {
  it.each([0, 1])('is told of %i with its reason, and follows neither once it is done', async (which) => {
    const controllers = [new AbortController(), new AbortController()];
    const signals = controllers.map(({ signal }) => signal);
    const done = deferred<void>();
    const working = withEither(signals, async (either) => {
      await done.promise;
      return either.reason as unknown;
    });
    controllers[which]!.abort('enough');
    done.resolve();
    expect(await working).toBe('enough');
    expect(signals.flatMap((signal) => getEventListeners(signal, 'abort'))).toEqual([]);
  });

  it('is told at once of one that was aborted before', async () => {
    const signals = [new AbortController().signal, AbortSignal.abort('before')];
    expect(await withEither(signals, async ({ reason }) => reason as unknown)).toBe('before');
  });

  it('follows neither when it fails', async () => {
    const { signal } = new AbortController();
    await expect(withEither([signal], () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});
