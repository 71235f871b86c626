import { judgeAllocation } from './allocation.ts';
import { UNMEASURED, type TransportProfile } from './behavior.ts';
import type { BindingTest, BindingTestPurpose } from './binding-test.ts';
import { judgeFiltering, type FilteringAnswer } from './filtering.ts';
import { judgeMapping, type LocalSocket, type MappingObservation } from './mapping.ts';

interface UdpEvidenceOptions {
  readonly localAddresses: readonly string[];
  readonly localPort: number;
  /** Silence was heard by this end, and is not its own. */
  readonly hasListened: boolean;
}

/** What the tests' answers say by now. Where there were tests and no answer at all, UDP can't leave this network. */
export function judgeUdp(
  tests: readonly BindingTest[],
  { localAddresses, localPort, hasListened }: UdpEvidenceOptions,
): TransportProfile {
  if (tests.length === 0) return UNMEASURED;
  const own = observations(tests, 'mapping');
  if (own.length === 0) return { ...UNMEASURED, reachable: hasListened ? false : undefined };
  const observed = [...own, ...observations(tests, 'witness')];
  const local: LocalSocket = { addresses: localAddresses, port: localPort };
  const { mapping, provisional } = judgeMapping(observed, local);
  const hasOtherAddress = otherAddressWorks(tests);
  const evidence = {
    otherAddress: answerOf(tests, 'other-address', hasListened),
    otherPort: answerOf(tests, 'other-port', hasListened),
    hasOtherAddress,
  };
  // Whom another port of the same address can't reach, another address can't either.
  const isFilterSure = hasOtherAddress || evidence.otherPort === 'silent';
  const ports = observed.map(({ mapped }) => mapped.port);
  return {
    ...UNMEASURED,
    reachable: true,
    mapping,
    filtering: judgeFiltering(evidence, mapping),
    provisional: provisional || !isFilterSure,
    allocation: judgeAllocation(ports, localPort, mapping),
    publicAddresses: [...new Set(own.map(({ mapped }) => mapped.address))],
  };
}

/** The servers' fastest answer, milliseconds; `undefined` before the first. A witness may be nearer than they are. */
export function leastRoundTrip(tests: readonly BindingTest[]): number | undefined {
  const servers = tests.filter(({ purpose }) => purpose !== 'witness');
  const times = servers.flatMap(({ transaction }) => transaction.roundTripMs ?? []);
  return times.length === 0 ? undefined : Math.min(...times);
}

function observations(tests: readonly BindingTest[], by: 'mapping' | 'witness'): MappingObservation[] {
  return tests.flatMap(({ purpose, to, reply }) =>
    purpose === by && reply?.mapped ? [{ server: to, mapped: reply.mapped }] : [],
  );
}

function answerOf(
  tests: readonly BindingTest[],
  purpose: BindingTestPurpose,
  hasListened: boolean,
): FilteringAnswer {
  const test = tests.find((other) => other.purpose === purpose);
  if (test?.reply) return test.reply.class === 'success' ? 'answered' : 'unknown';
  const isProof = hasListened && test?.isSilent && lossRate(tests) ** test.transaction.transmissions < DOUBT;
  return isProof ? 'silent' : 'unknown';
}

/** The share of mapping requests that stayed without an answer. A slow answer isn't a lost one. */
function lossRate(tests: readonly BindingTest[]): number {
  const answered = tests.filter(({ purpose, reply }) => purpose === 'mapping' && reply);
  const sent = answered.reduce((sum, { transaction }) => sum + transaction.transmissions, 0);
  const received = answered.reduce((sum, { replies }) => sum + replies, 0);
  return sent === 0 ? 1 : Math.max(0, 1 - received / sent);
}

/** The silence of the second address proves something about our filter only if it answers when it is asked. */
function otherAddressWorks(tests: readonly BindingTest[]): boolean {
  return tests.some(({ purpose, to, reply }) => {
    if (purpose === 'other-address') return reply?.class === 'success';
    return purpose === 'mapping' && reply?.mapped && to.address !== tests[0]?.to.address;
  });
}

/** Silence counts as filtering where chance would have caused it less often than this. */
const DOUBT = 0.001;
