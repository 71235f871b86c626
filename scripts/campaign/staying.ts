import { disturb, fallIdle, type Disturbance } from '../../test/netns/staying.ts';
import type { NatName } from '../../test/netns/lab.ts';
import { median, type Exercise } from './row.ts';

const DELAY_MS = 20;
const ROUND_TRIP_MS = 4 * DELAY_MS;

/** From the end of what happened. */
const DIRECT_WITHIN_MS: Readonly<Record<Disturbance, number>> = {
  'NAT reboot': 5_000,
  'public address change': 5_000,
  'link outage of 5 s': 10_000,
};

const NATS: readonly NatName[] = ['ei/apd', 'apd/apd-sequential'];

export const stayingExercises: readonly Exercise[] = [
  ...(Object.keys(DIRECT_WITHIN_MS) as Disturbance[]).flatMap((what) => NATS.map((a) => disturbed(what, a))),
  idle(),
];

function disturbed(what: Disturbance, a: NatName): Exercise {
  const name = `staying direct: ${what}, ${a} × ei/apd`;
  return {
    name,
    async run({ runs, report, say }) {
      const within = DIRECT_WITHIN_MS[what];
      const times: number[] = [];
      let good = 0;
      for (let run = 0; run < runs; run++) {
        const { directAfterMs, intact } = await disturb(what, { a, b: 'ei/apd', delayMs: DELAY_MS });
        if (directAfterMs !== undefined) times.push(directAfterMs);
        if (intact && directAfterMs !== undefined && directAfterMs <= within) good++;
        say(`${directAfterMs ?? '–'} ms, ${intact ? 'nothing lost' : 'LOST bytes'}`);
      }
      report({
        row: name,
        asked: `direct again in ${within} ms, nothing lost`,
        reached: `${good} of ${runs}, median ${median(times)} ms`,
        ok: good === runs,
        most: Math.max(...times),
      });
    },
  };
}

function idle(): Exercise {
  const name = 'staying direct: idle behind 20 s NATs';
  return {
    name,
    async run({ idleSeconds, report }) {
      const options = { a: 'ei/apd+short', b: 'ei/apd+short', delayMs: DELAY_MS } as const;
      const { firstByteMs, samePath } = await fallIdle(idleSeconds * 1000, options);
      const within = ROUND_TRIP_MS + 50;
      report({
        row: `${name}, ${idleSeconds} s`,
        asked: `first byte in ${within} ms, no new punch`,
        reached: `${firstByteMs} ms, ${samePath ? 'on the same path' : 'on ANOTHER path'}`,
        ok: samePath && firstByteMs <= within,
      });
    },
  };
}
