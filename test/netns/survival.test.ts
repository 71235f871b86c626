import { describe, expect, it } from 'vitest';
import { labSupport } from './lab.ts';
import { crowd } from './survival/crowd.ts';
import { survive, type FaultName } from './survival/faults.ts';
import { killPeer } from './survival/kill.ts';

const support = await labSupport();
if (!support.ok) console.log(`skipped, survival behind real NATs: ${support.reason}`);

const MIB = 1024 * 1024;

// `npm run campaign -- --only survival` has all of it, at full size and with the times that were asked for.
describe.skipIf(!support.ok).concurrent('a transfer both ways by the real commands, behind real NATs', () => {
  it.each<FaultName>([
    'relay killed',
    'relay lost, there is another',
    'rendezvous killed, which relays',
    'public address change',
    'everything dropped',
    'peer stopped',
  ])('loses nothing: %s', { timeout: 120_000 }, async (fault) => {
    const { equal } = await survive(fault, { bytes: 12 * MIB, seconds: 4 });
    expect(equal).toBe(true);
  });

  it(
    'goes on soon by shorter packets where long ones are dropped of a sudden',
    { timeout: 120_000 },
    async () => {
      const { equal, stallMs } = await survive('long packets dropped', { bytes: 32 * MIB });
      expect(equal).toBe(true);
      expect(stallMs).toBeLessThan(10_000); // udx itself takes 13 s to give up
    },
  );

  it.each(['a', 'b'] as const)(
    'goes on where host %s has no files left, and those that come later are served',
    { timeout: 120_000 },
    async (host) => {
      const { equal, servedAtOnce, servedAfter } = await crowd(host, 12 * MIB);
      expect(equal).toBe(true);
      expect(servedAtOnce).toBeLessThan(200);
      expect(servedAfter).toBe(20);
    },
  );

  it(
    'fails with a typed error at the end that lives on, never with an end',
    { timeout: 120_000 },
    async () => {
      const { code, status, broken } = await killPeer('up', 64 * MIB);
      expect({ code, status, broken }).toEqual({ code: 'PEER_LOST', status: 1, broken: true });
    },
  );
});
