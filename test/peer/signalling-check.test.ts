import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Deployment } from '../../peer/deployment.ts';
import { Meeting } from './meeting.ts';

describe('the connection to the rendezvous, while something is awaited by it', () => {
  let meeting: Meeting;
  let deployment: Deployment;
  beforeEach(async () => {
    meeting = await Meeting.start();
    ({ deployment } = await meeting.peer('alice'));
  });
  afterEach(() => meeting.close());

  it('is checked where that takes longer than it should, and again', async () => {
    const check = vi.spyOn(deployment, 'check');
    const stop = deployment.checkWhile(() => true);
    await expect.poll(() => check.mock.calls.length, { timeout: 10_000 }).toBe(2);
    stop();
    await sleep(1_700);
    expect(check).toHaveBeenCalledTimes(2);
  });

  it('is not burdened with a check where it has come at once', async () => {
    const check = vi.spyOn(deployment, 'check');
    let awaited = true;
    deployment.checkWhile(() => awaited);
    awaited = false;
    await sleep(300);
    expect(check).not.toHaveBeenCalled();
  });
});
