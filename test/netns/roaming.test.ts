import { describe, expect, it } from 'vitest';
import type { CommandEvent } from '../e2e/commands.ts';
import { labSupport, type Lab } from './lab.ts';
import { Scenario } from './scenario.ts';

const support = await labSupport();
if (!support.ok) console.log(`skipped, changes of network: ${support.reason}`);

const BEAT_MS = 100;
const BEAT = Buffer.alloc(1_000, 'beat');
/** For a busy machine. */
const patience = { timeout: 60_000 };

/** A session that is in use all the time, behind two NATs. */
class LiveSession {
  readonly scenario: Scenario;
  readonly #connect;
  #sent = 0;
  #received = 0;
  #beat: NodeJS.Timeout | undefined;

  constructor(scenario: Scenario) {
    this.scenario = scenario;
    this.#connect = scenario.connect('-W', 'echo', '--explain');
    this.#connect.child.stdout!.on('data', (chunk: Buffer) => (this.#received += chunk.length));
    this.#beat = setInterval(() => {
      this.#connect.child.stdin!.write(BEAT);
      this.#sent += BEAT.length;
    }, BEAT_MS);
  }

  get #ends(): readonly CommandEvent[][] {
    return [this.#connect.events, this.scenario.up.events];
  }

  /** How much each end had told of, as a mark of time. */
  get mark(): number[] {
    return this.#ends.map((events) => events.length);
  }

  /** Both ends send directly, on paths that came up after `mark`. */
  isDirectSince(mark: readonly number[]): boolean {
    const active = (events: readonly CommandEvent[]) =>
      events.findLast(({ event, state }) => event === 'path' && state === 'active');
    return this.#ends.every((events, end) => active(events.slice(mark[end]))?.['direct'] === true);
  }

  /** Bytes that were sent and have not come back. */
  get missing(): number {
    return this.#sent - this.#received;
  }

  /** No more is sent. */
  stop(): void {
    clearInterval(this.#beat);
  }
}

describe.skipIf(!support.ok)('a session whose network changes', () => {
  it.each<[string, (lab: Lab) => Promise<unknown>]>([
    ['another public address', (lab) => lab.changePublicAddress('a')],
    ['nothing for five seconds', (lab) => lab.linkOutage('a', 5_000)],
  ])(
    'with %s is direct again, and has lost nothing',
    async (_what, change) => {
      const scenario = await Scenario.start({ a: 'ei/apd', b: 'ei/apd', delayMs: 10 });
      const session = new LiveSession(scenario);
      try {
        await expect.poll(() => session.isDirectSince([0, 0]), patience).toBe(true);
        const before = session.mark;
        await change(scenario.lab);
        await expect.poll(() => session.isDirectSince(before), patience).toBe(true);
        session.stop();
        await expect.poll(() => session.missing, patience).toBe(0);
      } finally {
        session.stop();
        await scenario.close();
      }
    },
    200_000,
  );

  it('is registered anew when its packets leave by another of its addresses', async () => {
    const scenario = await Scenario.start({ a: 'ei/apd', b: 'ei/apd' });
    try {
      const { b } = scenario.lab.hosts;
      await b.exec('ip', ['address', 'add', '192.168.2.77/24', 'dev', 'eth0']);
      await scenario.restartUp();
      const registrations = () => scenario.up.events.filter(({ event }) => event === 'registered').length;
      expect(registrations()).toBe(1);
      await b.exec('ip', ['route', 'replace', 'default', 'via', '192.168.2.1', 'src', '192.168.2.77']);
      await expect.poll(registrations, { timeout: 15_000 }).toBe(2);
    } finally {
      await scenario.close();
    }
  }, 60_000);
});
