import type { FilteringBehavior, MappingBehavior } from './behavior.ts';

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
