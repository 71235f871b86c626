import type { FilteringBehavior, MappingBehavior, StrayPolicy } from './behavior.ts';

/** What became of a request for a reply from elsewhere, sent from a socket that had contacted one endpoint only. */
export type FilteringAnswer =
  /** The reply came from elsewhere. */
  | 'answered'
  /** Nothing came, for long enough and often enough asked. */
  | 'silent'
  /** Not tried, or not settled. */
  | 'unknown';

export interface FilteringEvidence {
  /** A reply from the server's other address and port (RFC 5780 §4.4, test II). */
  readonly otherAddress: FilteringAnswer;
  /** A reply from the same address, other port (test III). */
  readonly otherPort: FilteringAnswer;
  /** False where the server has one address: then the first test can't be made. */
  readonly hasOtherAddress: boolean;
}

/** What a server met that dialled our mapping from elsewhere, as often as it tried. */
export type DialAnswer = 'connected' | 'refused' | 'silent' | 'unknown';

export interface DialEvidence {
  /** Dialled from the server's other address. */
  readonly otherAddress: DialAnswer;
  /** Dialled from another port of the address that we had contacted. */
  readonly otherPort: DialAnswer;
  readonly hasOtherAddress: boolean;
}

/**
 * TCP filtering, by dials from elsewhere to a socket that listens (RFC 5382 §4.3). A refusal is a NAT's answer to a
 * stray. One server address alone can show only the strictest filter.
 */
export function judgeTcpFiltering(evidence: DialEvidence, mapping: MappingBehavior): FilteringBehavior {
  const otherPort = answerTo(evidence.otherPort);
  if (!evidence.hasOtherAddress && otherPort === 'answered') return 'unknown';
  return judgeFiltering({ ...evidence, otherAddress: answerTo(evidence.otherAddress), otherPort }, mapping);
}

/** What becomes of segments that belong to no flow, where any of the dials was one. */
export function judgeStrays({ otherAddress, otherPort }: DialEvidence): StrayPolicy {
  if (otherAddress === 'refused' || otherPort === 'refused') return 'reset';
  return otherAddress === 'silent' || otherPort === 'silent' ? 'drop' : 'unknown';
}

function answerTo(answer: DialAnswer): FilteringAnswer {
  if (answer === 'unknown') return 'unknown';
  return answer === 'connected' ? 'answered' : 'silent';
}

/**
 * Filtering behaviour (RFC 5780 §4.4). With one server address, a reply from its other port shows address-dependent
 * filtering or better, and the lesser is assumed.
 */
export function judgeFiltering(evidence: FilteringEvidence, mapping: MappingBehavior): FilteringBehavior {
  const { otherAddress, otherPort, hasOtherAddress } = evidence;
  if (otherAddress === 'answered') return mapping === 'none' ? 'none' : 'endpoint-independent';
  if (hasOtherAddress && otherAddress === 'unknown') return 'unknown';
  if (otherPort === 'answered') return 'address-dependent';
  return otherPort === 'silent' ? 'address-and-port-dependent' : 'unknown';
}
