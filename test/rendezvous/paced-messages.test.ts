import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/core/limits.ts';
import type { SignalMessage } from '../../src/net/signal.ts';
import { TestDeployment } from './deployment.ts';

const bytes = (length: number) => new Uint8Array(randomBytes(length));

describe('a node that others make say more than a rendezvous takes of one', () => {
  let deployment: TestDeployment;
  beforeEach(async () => {
    deployment = await TestDeployment.start();
  });
  afterEach(() => deployment.close());

  it('stays registered, and says it all in time', async () => {
    const { signal, identity } = await deployment.node();
    const lost: unknown[] = [];
    signal.on('down', (why) => lost.push(why));
    const answers: SignalMessage[] = [];
    signal.on('message', (message) => answers.push(message));
    const renewals = LIMITS.messagesBurst + LIMITS.messagesPerSecond;
    for (let count = 0; count < renewals; count++)
      signal.send({ t: 'renew', session: bytes(16), peer: identity.publicKey, leg: 0 });
    await expect.poll(() => answers.length, { timeout: 30_000 }).toBe(renewals);
    expect(lost).toEqual([]);
  }, 60_000);

  it('checks its connection for all of them by few pings', async () => {
    const { signal } = await deployment.node();
    const lost: unknown[] = [];
    signal.on('down', (why) => lost.push(why));
    for (let count = 0; count < 2 * LIMITS.messagesBurst; count++) signal.check();
    await sleep(500);
    expect(lost).toEqual([]);
    expect(signal.send({ t: 'ping', sent: 0 })).toBe(true);
  });
});
