import type { NatName } from '../../test/netns/lab.ts';
import { Scenario, type Meeting, type ScenarioOptions } from '../../test/netns/scenario.ts';
import { shortfallOf, type BestKind } from '../../test/netns/verdict.ts';
import { median, tally, type Exercise, type ExerciseOptions, type Figures } from './row.ts';

/** One way of each access link. */
const DELAY_MS = 20;
/** A–rendezvous–B and back. */
const ROUND_TRIP_MS = 4 * DELAY_MS;
const DIRECT_WITHIN_MS = 3 * ROUND_TRIP_MS + 250;
const FIRST_BYTE_WITHIN_MS = 4 * ROUND_TRIP_MS + 50;

interface Course {
  readonly meetings: readonly Meeting[];
  /** What went wrong, in words; a run that failed altogether included. */
  readonly shortfalls: readonly string[];
}

const EASY: readonly NatName[] = ['open', 'ei/ei', 'ei/ad', 'ei/apd'];

/** Pairs beyond the easy ones, and the best kind of path that each can have. */
const HARD: readonly (readonly [NatName, NatName, BestKind])[] = [
  ['apd/apd-random', 'apd/apd-random', 'relay'],
  ['apd/apd-random', 'apd/apd-sequential', 'relay'],
  ['udp-blocked', 'ei/apd', 'tcp'],
  ['udp-blocked', 'udp-blocked', 'tcp'],
  ['tcp443-only', 'ei/apd', 'relay'],
  ['proxy-only', 'ei/apd', 'relay'],
  ['same-lan', 'same-lan', 'direct'],
  ['same-nat', 'same-nat', 'direct'],
  ['ipv6-firewall', 'ipv6-firewall', 'direct'],
  ['ipv6-only', 'ipv6-firewall', 'direct'],
  ['same-nat-internal', 'same-nat-internal', 'direct'],
  ['same-nat-no-hairpin', 'same-nat-no-hairpin', 'relay'],
  ['same-cgnat', 'same-cgnat', 'direct'],
  ['same-cgnat-no-hairpin', 'same-cgnat-no-hairpin', 'relay'],
  ['cgnat', 'ei/apd', 'direct'],
  ['ei/apd', 'apd/apd-random', 'direct'],
  ['ei/apd', 'apd/apd-sequential', 'direct'],
  ['apd/apd-sequential', 'apd/apd-sequential', 'direct'],
  ['ad/apd', 'ei/apd', 'direct'],
  ['apd/apd-random', 'apd/apd-random+upnp', 'direct'],
  ['apd/apd-random+pcp', 'apd/apd-random', 'direct'],
];

const DAY_MS = 86_400_000;

export const meetingExercises: readonly Exercise[] = [
  ...EASY.flatMap((a, index) => EASY.slice(index).map((b) => easyPair(a, b))),
  ...HARD.map(([a, b, best]) => hardPair(a, b, best)),
  ...[DAY_MS, -DAY_MS].map(clockOff),
  firstByte(),
];

/** Direct by the best kind, direct soon, and direct by TCP alone. */
function easyPair(a: NatName, b: NatName): Exercise {
  const name = `${a} × ${b}`;
  const run = async (scenario: Scenario, options: ExerciseOptions) => {
    const free = await meetOften(scenario, options, 'direct');
    options.report(reached(name, 'direct', free, options.runs));
    options.report(directSoon(name, free));
    const byTcp = await meetOften(scenario, options, 'tcp', { paths: 'tcp' });
    options.report(reached(`${name} --paths tcp`, 'tcp', byTcp, options.runs));
  };
  return { name, run: (options) => inScenario(a, b, (scenario) => run(scenario, options)) };
}

function hardPair(a: NatName, b: NatName, best: BestKind): Exercise {
  const name = `${a} × ${b}`;
  // A peer floods one address once a minute at most, and here everybody is behind the same one.
  const flooded = best === 'direct' && [a, b].some((nat) => nat.endsWith('random') || nat === 'ad/apd');
  const run = async (scenario: Scenario, options: ExerciseOptions) => {
    const course = await meetOften(scenario, options, best, { flooded });
    options.report(reached(name, best, course, options.runs));
  };
  return { name, run: (options) => inScenario(a, b, (scenario) => run(scenario, options)) };
}

/** The called end's clock is wrong by so much. */
function clockOff(clockOffsetMs: number): Exercise {
  const name = `called end's clock off by ${clockOffsetMs / DAY_MS} day`;
  const run = async (scenario: Scenario, options: ExerciseOptions) => {
    const course = await meetOften(scenario, options, 'direct');
    options.report(reached(name, 'direct', course, options.runs));
  };
  return {
    name,
    run: (options) => inScenario('ei/apd', 'ei/apd', (scenario) => run(scenario, options), { clockOffsetMs }),
  };
}

function firstByte(): Exercise {
  const name = 'first byte through the relay';
  const run = async (scenario: Scenario, options: ExerciseOptions) => {
    const { meetings, shortfalls } = await meetOften(scenario, options, undefined, { paths: 'relay' });
    const times = meetings.map(({ firstByteMs }) => firstByteMs);
    options.report({
      row: name,
      asked: `≤ ${FIRST_BYTE_WITHIN_MS} ms after registered`,
      reached: `median ${median(times)} ms`,
      ok: shortfalls.length === 0 && median(times) <= FIRST_BYTE_WITHIN_MS,
      ...spread(times),
      shortfalls,
    });
  };
  return { name, run: (options) => inScenario('ei/apd', 'ei/apd', (scenario) => run(scenario, options)) };
}

async function inScenario(
  a: NatName,
  b: NatName,
  use: (scenario: Scenario) => Promise<void>,
  special: Partial<ScenarioOptions> = {},
): Promise<void> {
  const scenario = await Scenario.start({ a, b, delayMs: DELAY_MS, ...special });
  try {
    await use(scenario);
  } finally {
    await scenario.close();
  }
}

/** @param best unknown where only the times matter */
async function meetOften(
  scenario: Scenario,
  { runs, say }: ExerciseOptions,
  best: BestKind | undefined,
  { paths, flooded = false }: { paths?: string; flooded?: boolean } = {},
): Promise<Course> {
  const meetings: Meeting[] = [];
  const shortfalls: string[] = [];
  for (let run = 0; run < runs; run++) {
    try {
      if (run > 0 && flooded) await scenario.restartUp();
      const meeting = await scenario.meet({ paths });
      meetings.push(meeting);
      const shortfall = best && shortfallOf(meeting, best);
      if (shortfall !== undefined) shortfalls.push(shortfall);
      say(`${meeting.a}/${meeting.b}, ${meeting.directMs ?? '–'} ms${shortfall ? `: ${shortfall}` : ''}`);
    } catch (thrown) {
      shortfalls.push((thrown as Error).message);
      say((thrown as Error).message);
    }
  }
  return { meetings, shortfalls };
}

function reached(row: string, best: BestKind, { meetings, shortfalls }: Course, runs: number): Figures {
  const good = runs - shortfalls.length;
  return {
    row,
    asked: `${WORDS[best]} in ${runs} of ${runs}`,
    reached: `${good} of ${runs}`,
    ok: good === runs,
    kinds: tally(meetings.map(({ a, b }) => `${a}/${b}`)),
    techniques: tally(meetings.flatMap(({ technique }) => technique ?? [])),
    reasons: Object.keys(tally(meetings.flatMap(({ reason }) => reason ?? []))),
    directMs: spread(meetings.flatMap(({ directMs }) => directMs ?? [])),
    firstByteMs: spread(meetings.map(({ firstByteMs }) => firstByteMs)),
    shortfalls,
  };
}

function directSoon(name: string, { meetings }: Course): Figures {
  const times = meetings.flatMap(({ directMs }) => directMs ?? []);
  return {
    row: `${name}: active after the answer`,
    asked: `median ≤ ${DIRECT_WITHIN_MS} ms`,
    reached: `${median(times)} ms`,
    ok: median(times) <= DIRECT_WITHIN_MS,
    ...spread(times),
  };
}

function spread(times: readonly number[]): { median: number; least: number; most: number } {
  return { median: median(times), least: Math.min(...times), most: Math.max(...times) };
}

const WORDS: Record<BestKind, string> = {
  direct: 'direct',
  tcp: 'direct by TCP',
  relay: 'relayed, with the reason,',
};
