import { crowd } from '../../test/netns/survival/crowd.ts';
import { survive, type FaultName } from '../../test/netns/survival/faults.ts';
import { flap } from '../../test/netns/survival/flapping.ts';
import { killPeer } from '../../test/netns/survival/kill.ts';
import { passInLittleMemory } from '../../test/netns/survival/memory.ts';
import { fallSilentBusy, fallSilentIdle } from '../../test/netns/survival/silence.ts';
import type { SurvivalReport } from '../../test/netns/survival/stage.ts';
import { median, type Exercise } from './row.ts';

/** Resume, by what there is to resume on. */
const WITHIN_MS = { 'another path': 3_000, 'a new one': 8_000 } as const;

const FAULTS: readonly (readonly [FaultName, keyof typeof WITHIN_MS])[] = [
  ['relay killed', 'a new one'],
  ['relay lost, there is another', 'a new one'],
  ['rendezvous killed', 'another path'],
  ['rendezvous killed, which relays', 'a new one'],
  ['NAT rebinding', 'another path'],
  ['public address change', 'a new one'],
  ['direct path cut and restored', 'another path'],
  ['everything dropped', 'a new one'],
  ['long packets dropped', 'a new one'],
];

const MIB = 1024 * 1024;
/** With so many bytes or more, what lasts lasts as long as was asked for; else it is a short version. */
const FULL_BYTES = 256 * MIB;
const UPGRADE_EVERY_MS = 10_000;
const LOST_WITHIN_MS = 15_000;

export const survivalExercises: readonly Exercise[] = [
  ...FAULTS.map(([fault, resume]) => surviving(fault, fault, WITHIN_MS[resume], 25)),
  surviving(
    'all paths lost for longer than tickets live',
    'all paths lost for longer than tickets live',
    WITHIN_MS['a new one'],
    190,
  ),
  surviving('peer stopped', 'peer stopped for 10 s', WITHIN_MS['a new one'], 35),
  surviving('peer stopped', 'peer stopped for 60 s', WITHIN_MS['a new one'], 85, 60),
  flapping(),
  silentBusy(),
  silentIdle(),
  killed('up'),
  killed('connect'),
  littleMemory('direct'),
  littleMemory('relay'),
  crowded('a'),
  crowded('b'),
];

function surviving(
  fault: FaultName,
  words: string,
  withinMs: number,
  estimatedSeconds: number,
  seconds = 10,
): Exercise {
  return repeated(
    `survival: ${words}`,
    estimatedSeconds,
    `SHA-256 equal, stall ≤ ${withinMs} ms`,
    async (bytes) => {
      const report = await survive(fault, { bytes, seconds: bytes < FULL_BYTES ? 10 : seconds });
      return { ...stallOf(report), good: report.equal && report.stallMs <= withinMs };
    },
  );
}

function flapping(): Exercise {
  const asked = 'SHA-256 equal, an upgrade in 10 s at most, stall ≤ 3000 ms';
  return repeated('survival: flapping every 2 s', 150, asked, async (bytes) => {
    const report = await flap({ bytes, seconds: bytes < FULL_BYTES ? 24 : 120 });
    const { equal, stallMs, upgrades, leastBetweenUpgradesMs } = report;
    const isRare = leastBetweenUpgradesMs >= UPGRADE_EVERY_MS;
    return {
      ms: stallMs,
      words: `${equal ? 'equal' : 'NOT equal'}, stall ${stallMs} ms, ${upgrades} upgrades, ${leastBetweenUpgradesMs} ms apart`,
      good: equal && isRare && stallMs <= WITHIN_MS['another path'],
    };
  });
}

function silentBusy(): Exercise {
  const asked = 'noticed in 5000 ms, SHA-256 equal';
  return repeated('survival: half-open path with data in flight', 25, asked, async (bytes) => {
    const { equal, noticedMs } = await fallSilentBusy(bytes);
    return { ms: noticedMs, words: `noticed after ${noticedMs} ms`, good: equal && noticedMs <= 5_000 };
  });
}

function silentIdle(): Exercise {
  return repeated('survival: half-open path, idle', 35, 'noticed in 20000 ms, nothing lost', async () => {
    const { equal, noticedMs } = await fallSilentIdle();
    return { ms: noticedMs, words: `noticed after ${noticedMs} ms`, good: equal && noticedMs <= 20_000 };
  });
}

function killed(who: 'connect' | 'up'): Exercise {
  const asked = `PEER_LOST in ${LOST_WITHIN_MS} ms, never success`;
  return repeated(`survival: \`peer ${who}\` killed`, 30, asked, async (bytes) => {
    const { noticedMs, code, status, broken } = await killPeer(who, bytes);
    const failed = code === 'PEER_LOST' && status !== 0 && broken;
    return {
      ms: noticedMs,
      words: `${code} after ${noticedMs} ms${status === undefined ? '' : `, status ${status}`}${broken ? '' : ', an END'}`,
      good: failed && noticedMs <= LOST_WITHIN_MS,
    };
  });
}

function littleMemory(on: 'direct' | 'relay'): Exercise {
  const name = `survival: a heap of 128 MiB, ${on}`;
  return repeated(name, 60, 'four times the bytes pass, SHA-256 equal', async (bytes) => {
    const { equal, seconds, peakMiB } = await passInLittleMemory(on, 128, 4 * bytes);
    const words = `${equal ? 'equal' : 'NOT equal'} in ${Math.round(seconds)} s, at most ${peakMiB.join(' and ')} MiB resident`;
    return { ms: seconds * 1000, words, good: equal };
  });
}

function crowded(host: 'a' | 'b'): Exercise {
  const name = `survival: no files left at \`peer ${host === 'a' ? 'connect' : 'up'}\``;
  const asked = 'live flows go on (stall ≤ 3000 ms), later ones are served';
  return repeated(name, 30, asked, async (bytes) => {
    const { equal, stallMs, servedAtOnce, servedAfter } = await crowd(host, bytes);
    const words = `${equal ? 'equal' : 'NOT equal'}, stall ${stallMs} ms, ${servedAtOnce} of 200 served, then ${servedAfter} of 20`;
    return {
      ms: stallMs,
      words,
      good: equal && stallMs <= WITHIN_MS['another path'] && servedAfter === 20,
    };
  });
}

interface Outcome {
  /** What the row is measured by. */
  readonly ms: number;
  readonly words: string;
  readonly good: boolean;
}

function stallOf({ equal, stallMs }: SurvivalReport): Pick<Outcome, 'ms' | 'words'> {
  return { ms: stallMs, words: `${equal ? 'equal' : 'NOT equal'}, stall ${stallMs} ms` };
}

/** One row: the same again and again, each in a laboratory of its own; a run that fails altogether is a bad one. */
function repeated(
  name: string,
  estimatedSeconds: number,
  asked: string,
  once: (bytes: number) => Promise<Outcome>,
): Exercise {
  return {
    name,
    estimatedSeconds,
    async run({ runs, bytes, report, say }) {
      const outcomes: Outcome[] = [];
      const shortfalls: string[] = [];
      for (let run = 0; run < runs; run++) {
        try {
          const outcome = await once(bytes);
          outcomes.push(outcome);
          if (!outcome.good) shortfalls.push(outcome.words);
          say(outcome.words);
        } catch (thrown) {
          shortfalls.push((thrown as Error).message);
          say((thrown as Error).message);
        }
      }
      const times = outcomes.map(({ ms }) => Math.round(ms));
      const last = outcomes.at(-1)?.words ?? '–';
      const most =
        times.length > 0 ? `median ${median(times)}, most ${Math.max(...times)} ms` : 'none came through';
      report({
        row: name,
        asked,
        reached: `${runs - shortfalls.length} of ${runs}, ${most}`,
        ok: shortfalls.length === 0,
        mebibytes: bytes / MIB,
        times,
        last,
        shortfalls,
      });
    },
  };
}
