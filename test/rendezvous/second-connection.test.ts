import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { TestDeployment, next } from './deployment.ts';
import { stoppablePipe } from './stoppable-pipe.ts';

const bytes = (length: number) => new Uint8Array(randomBytes(length));

describe('a connection to the rendezvous that has fallen silent', () => {
  let deployment: TestDeployment;
  afterEach(async () => {
    vi.restoreAllMocks();
    await deployment.close();
  });

  /** One that is being checked in vain, as are those that are begun beside it, and when it was registered. */
  async function silenced() {
    deployment = await TestDeployment.start();
    const pipe = await stoppablePipe(deployment);
    const { signal } = await deployment.node({ url: pipe.url });
    const { time } = signal.grant!;
    pipe.stop();
    pipe.stopNew();
    signal.check();
    return { pipe, signal, time };
  }

  it('is replaced by a second one, and what was sent by it comes again', async () => {
    deployment = await TestDeployment.start();
    const pipe = await stoppablePipe(deployment);
    const bob = await deployment.node({ url: pipe.url });
    const alice = await deployment.node({ role: 'dial' });
    let downs = 0;
    bob.signal.on('down', () => downs++);
    pipe.stop();
    const session = bytes(16);
    const refused = next(alice.signal, 'error').then(({ code }) => code);
    const [back, offered] = [once(bob.signal, 'registered'), next(bob.signal, 'offer')];
    alice.signal.send({ t: 'offer', session, to: bob.identity.publicKey, noise: bytes(96) });
    bob.signal.check();
    await back;
    const came = await Promise.race([refused, offered.then((offer) => Buffer.from(offer.session))]);
    expect(came).toEqual(Buffer.from(session));
    expect(downs).toBe(0);
    expect(pipe.connections).toBeGreaterThan(1); // a third is begun where the second is slow
  });

  it('stays where it answers before the second one has asked for the registration', async () => {
    const { pipe, signal, time } = await silenced();
    await expect.poll(() => pipe.connections, { timeout: 10_000 }).toBe(2);
    pipe.go();
    await expect.poll(() => signal.rttMs!, { timeout: 10_000 }).toBeGreaterThan(500); // its own ping's, held back meanwhile
    await setTimeout(300);
    expect(signal.grant!.time).toBeGreaterThanOrEqual(time);
    expect(signal.send({ t: 'ping', sent: 0 })).toBe(true);
  });

  it('is replaced by one to a rendezvous whose clock was set back meanwhile', async () => {
    const { pipe, signal, time } = await silenced();
    await setTimeout(5_300); // it has been silent for too long by now, and stays while others are tried beside it
    vi.spyOn(performance, 'timeOrigin', 'get').mockReturnValue(performance.timeOrigin - 3_600_000);
    pipe.goNew();
    await expect.poll(() => signal.grant && signal.grant.time < time, { timeout: 15_000 }).toBe(true);
  }, 60_000);

  it('is given up where nothing answers at all', async () => {
    deployment = await TestDeployment.start();
    const pipe = await stoppablePipe(deployment);
    const { signal } = await deployment.node({ url: pipe.url });
    const down = once(signal, 'down');
    pipe.stop();
    pipe.stopNew();
    signal.check();
    await down;
    expect(signal.grant).toBeUndefined();
    expect(pipe.connections).toBe(4); // three beside the first
    pipe.go();
    expect(await signal.whenRegistered()).toBeDefined();
  }, 60_000);
});
