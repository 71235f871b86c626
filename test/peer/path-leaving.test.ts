import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { PathRotation } from '../../peer/path-rotation.ts';
import type { Session } from '../../peer/session.ts';
import { ManualClock } from './manual-clock.ts';

/** A session whose paths come and go as they are told to. */
function staged() {
  const clock = new ManualClock();
  const left: number[] = [];
  const driver = Object.assign(new EventEmitter(), { removePath: (id: number) => left.push(id) });
  const tell = (id: number, state: 'up' | 'down', kind = 'udp') =>
    driver.emit('path', { path: { id, kind, technique: 'simultaneous probes' }, state });
  const session = { role: 'responder', driver } as unknown as Session;
  const rotation = new PathRotation({ session, clock, rotate: () => {} });
  return { clock, left, tell, rotation };
}

describe('of several paths by UDP', () => {
  it('the newest stays, however fast they came', async () => {
    const { clock, left, tell } = staged();
    for (const id of [1, 2, 3]) {
      tell(id, 'up');
      await clock.pass(300);
    }
    await clock.pass(1_000);
    expect(left).toEqual([1, 2]);
  });

  it('the older stays where the newer is lost at once, until there is another', async () => {
    const { clock, left, tell } = staged();
    tell(1, 'up');
    tell(2, 'up');
    tell(2, 'down');
    await clock.pass(5_000);
    expect(left).toEqual([]);
    tell(3, 'up');
    await clock.pass(1_000);
    expect(left).toEqual([1]);
  });

  it('none is left for a path by TCP, nor after the end of the session', async () => {
    const { clock, left, tell, rotation } = staged();
    tell(1, 'up');
    tell(2, 'up', 'tcp');
    await clock.pass(5_000);
    tell(3, 'up');
    rotation.stop();
    await clock.pass(5_000);
    expect(left).toEqual([]);
  });
});
