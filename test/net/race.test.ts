import { describe, expect, it } from 'vitest';
import { SallyportError } from '../../src/core/errors.ts';
import type { Clock } from '../../src/net/clock.ts';
import { deferred, type Deferred } from '../../src/net/deferred.ts';
import { Race, type Attempting } from '../../src/net/race.ts';
import { VirtualClock } from '../sim/clock.ts';

interface Attempt extends Attempting {
  readonly at: number;
  readonly outcome: Deferred<string>;
}

/** A race in virtual time whose attempts end as the test says. */
function race() {
  const virtual = new VirtualClock();
  const clock: Clock = {
    now: () => virtual.now,
    setTimer: (fn, ms) => {
      const timer = virtual.after(ms, fn);
      return () => timer.cancel();
    },
  };
  const attempts: Attempt[] = [];
  const [results, discarded, failures] = [[] as string[], [] as string[], [] as [string, number][]];
  const runs = new Race<string>({
    attempt: (attempting) => {
      const outcome = deferred<string>();
      attempts.push({ ...attempting, at: virtual.now, outcome });
      return outcome.promise;
    },
    clock,
    failure: 'RENDEZVOUS_UNREACHABLE',
    onResult: (result) => results.push(result),
    discard: (result) => discarded.push(result),
    onFailure: ({ code }, left) => failures.push([code, left]),
  });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  const pass = async (ms: number) => {
    await settled();
    const until = virtual.now + ms;
    while ((virtual.next ?? Infinity) <= until) virtual.step();
    virtual.advanceTo(until);
    await settled();
  };
  const abandoned = () => attempts.map(({ signal }) => signal.aborted);
  return { runs, attempts, results, discarded, failures, pass, abandoned };
}

describe('a race of attempts', () => {
  it('begins a second after one second and a third after three, and no more', async () => {
    const { runs, attempts, pass } = race();
    runs.begin();
    await pass(60_000);
    expect(attempts.map(({ at }) => at)).toEqual([0, 1_000, 3_000]);
  });

  it('is one attempt where that comes through in time', async () => {
    const { runs, attempts, results, pass } = race();
    runs.begin();
    runs.begin();
    await pass(900);
    attempts[0]!.outcome.resolve('first');
    await pass(60_000);
    expect([attempts.length, results, runs.running]).toEqual([1, ['first'], false]);
  });

  it('takes the first that comes through and abandons those that have not committed', async () => {
    const { runs, attempts, results, discarded, pass, abandoned } = race();
    runs.begin();
    await pass(3_000);
    attempts[0]!.onCommit();
    attempts[1]!.outcome.resolve('second');
    await pass(0);
    expect([results, abandoned()]).toEqual([['second'], [false, false, true]]);
    attempts[2]!.outcome.resolve('third');
    await pass(0);
    expect([results, discarded]).toEqual([['second'], ['third']]);
    attempts[0]!.outcome.resolve('first'); // the other end has acted on it, so it counts
    await pass(0);
    expect([results, runs.running]).toEqual([['second', 'first'], false]);
  });

  it('fails with the last of its attempts, and begins no other then', async () => {
    const { runs, attempts, failures, pass } = race();
    runs.begin();
    await pass(1_000);
    attempts[0]!.outcome.reject(new SallyportError('TIMEOUT', 'late'));
    await pass(0);
    attempts[1]!.outcome.reject(new Error('refused'));
    await pass(60_000);
    expect(failures).toEqual([
      ['TIMEOUT', 1],
      ['RENDEZVOUS_UNREACHABLE', 0],
    ]);
    expect(attempts).toHaveLength(2);
    runs.begin();
    expect(attempts).toHaveLength(3);
  });

  it('can be called off: committed attempts go on, and another race may begin beside them', async () => {
    const { runs, attempts, results, failures, pass, abandoned } = race();
    runs.begin();
    await pass(1_000);
    attempts[0]!.onCommit();
    runs.relent();
    await pass(60_000);
    expect([abandoned(), runs.running]).toEqual([[false, true], true]);
    runs.begin();
    expect(attempts).toHaveLength(3);
    attempts[0]!.outcome.resolve('first');
    await pass(0);
    expect([results, failures]).toEqual([['first'], []]);
  });

  it('tells of nothing once it is stopped', async () => {
    const { runs, attempts, results, discarded, failures, pass, abandoned } = race();
    runs.begin();
    await pass(1_000);
    attempts[0]!.onCommit();
    runs.stop();
    expect(abandoned()).toEqual([true, true]);
    attempts[0]!.outcome.resolve('first');
    attempts[1]!.outcome.reject(new Error('aborted'));
    await pass(60_000);
    expect([results, discarded, failures]).toEqual([[], ['first'], []]);
  });
});
