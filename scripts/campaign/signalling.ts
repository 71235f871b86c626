import { Scenario } from '../../test/netns/scenario.ts';
import { median, type Exercise } from './row.ts';

const MOST_BYTES = 4 * 1024;

/**
 * What one connection sends through the rendezvous, as the NAT of the peer that was already registered counts it: all
 * TCP bytes between that peer and the rendezvous from the offer to the direct path, headers and acknowledgements
 * included. The relay is another host, so that its bytes are not among them.
 */
export const signallingExercise: Exercise = {
  name: 'bytes through the rendezvous',
  async run({ runs, report }) {
    const scenario = await Scenario.start({ a: 'ei/apd', b: 'ei/apd', delayMs: 20, relay: 'separate' });
    const there: number[] = [];
    const back: number[] = [];
    const count = async () => (await scenario.lab.natCounters('b')).rendezvous.tcp;
    try {
      for (let run = 0; run < runs; run++) {
        const before = await count();
        await scenario.meet();
        const after = await count();
        there.push(after.received.bytes - before.received.bytes);
        back.push(after.sent.bytes - before.sent.bytes);
      }
    } finally {
      await scenario.close();
    }
    report({
      row: 'bytes through the rendezvous for one connection',
      asked: `≤ ${MOST_BYTES} each way`,
      reached: `A to B ${median(there)}, B to A ${median(back)} (medians)`,
      ok: Math.max(median(there), median(back)) <= MOST_BYTES,
      most: { there: Math.max(...there), back: Math.max(...back) },
    });
  },
};
