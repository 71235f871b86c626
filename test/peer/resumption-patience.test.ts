import { EventEmitter } from 'node:events';
import { beforeEach, describe, expect, it } from 'vitest';
import { Resumption } from '../../peer/resumption.ts';
import type { Session } from '../../peer/session.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { deferred, type Deferred } from '../../src/net/deferred.ts';
import { ManualClock } from './manual-clock.ts';

let clock: ManualClock;
let offers: Deferred<void>[];
let signals: AbortSignal[];
let session: EventEmitter & { path: unknown; driver: { paths: unknown[] } };
let resumption: Resumption;

beforeEach(() => {
  clock = new ManualClock();
  offers = [];
  signals = [];
  session = Object.assign(new EventEmitter(), { role: 'initiator', path: undefined, driver: { paths: [] } });
  const reoffer = (signal: AbortSignal) => {
    offers.push(deferred<void>());
    signals.push(signal);
    return offers.at(-1)!.promise;
  };
  resumption = new Resumption({ session: session as unknown as Session, clock, reoffer });
});

function up(): void {
  session.path = { kind: 'udp' };
  session.driver.paths = [session.path];
  session.emit('path', { state: 'up' });
}

function lost(): void {
  session.path = undefined;
  session.driver.paths = [];
  session.emit('path', { state: 'down' });
}

describe('offering a session anew', () => {
  it('leaves the other end’s offer as much time as an own one has, where that has taken its place', async () => {
    lost();
    await clock.pass(2_000);
    expect(offers).toHaveLength(1);
    resumption.resumed();
    offers[0]!.reject(new SallyportError('ABORTED', 'the peer has offered the session itself'));
    await clock.pass(14_900);
    expect(offers).toHaveLength(1);
    await clock.pass(200);
    expect(offers).toHaveLength(2);
  });

  it.each(['resumed', 'stop'] as const)('is given up with "%s": it would end what goes on', async (news) => {
    lost();
    await clock.pass(2_000);
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
    resumption[news]();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });

  it('begins soon after a loss, however short the path that came of the last one was up', async () => {
    lost();
    await clock.pass(2_000);
    resumption.resumed();
    offers[0]!.resolve();
    await clock.pass(100);
    up();
    lost();
    await clock.pass(2_000);
    expect(offers).toHaveLength(2);
  });

  it('is tried again after a failure, and not once a path is up', async () => {
    lost();
    await clock.pass(2_000);
    offers[0]!.reject(new SallyportError('TIMEOUT', 'the peer did not answer'));
    await clock.pass(2_000);
    expect(offers).toHaveLength(2);
    offers[1]!.reject(new SallyportError('TIMEOUT', 'the peer did not answer'));
    await clock.pass(1_000);
    up();
    await clock.pass(60_000);
    expect(offers).toHaveLength(2);
  });
});
