import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { stayAwake } from '../../src/net/stay-awake.ts';

/** What part of the next milliseconds the event loop spends asleep. */
async function idleFor(ms: number): Promise<number> {
  const before = performance.eventLoopUtilization();
  await sleep(ms);
  const { idle, active } = performance.eventLoopUtilization(before);
  return idle / (idle + active);
}

describe('staying awake', () => {
  it('has the event loop look for what comes until then, and for no longer', async () => {
    await sleep(20);
    stayAwake(performance.now() + 300);
    stayAwake(performance.now() + 100);
    expect(await idleFor(200)).toBeLessThan(0.1);
    await sleep(200);
    expect(await idleFor(200)).toBeGreaterThan(0.3);
  });
});
