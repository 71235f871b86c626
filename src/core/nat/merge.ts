import type { NatProfile, TransportProfile } from './behavior.ts';

/**
 * A diagnosis and what surveys have found beside it. The diagnosis is the newer one where both speak, but for port
 * allocation, which three differences can only guess at.
 */
export function mergeSurvey(
  diagnosed: TransportProfile,
  found: Partial<TransportProfile> | undefined,
): TransportProfile {
  if (!found || diagnosed.reachable !== true) return diagnosed;
  const { allocation = diagnosed.allocation, publicAddresses = [] } = found;
  const isTranslated = diagnosed.mapping !== 'none' && diagnosed.mapping !== 'unknown';
  const pool = [...new Set([...diagnosed.publicAddresses, ...publicAddresses])];
  return {
    ...diagnosed,
    filtering: diagnosed.filtering === 'unknown' ? (found.filtering ?? 'unknown') : diagnosed.filtering,
    allocation: isTranslated && allocation.kind !== 'unknown' ? allocation : diagnosed.allocation,
    strays: found.strays ?? diagnosed.strays,
    hairpin: found.hairpin ?? diagnosed.hairpin,
    lifetimeSeconds: found.lifetimeSeconds ?? diagnosed.lifetimeSeconds,
    publicAddresses: pool.slice(0, MAX_POOL),
  };
}

/** A later survey of the same network; what it could not tell stays as it was known. */
export function addFinding(
  before: Partial<TransportProfile>,
  found: Partial<TransportProfile>,
): Partial<TransportProfile> {
  const isKnown = ([, value]: [string, unknown]) =>
    value !== 'unknown' && value !== undefined && (value as { kind?: string }).kind !== 'unknown';
  const publicAddresses = [...(before.publicAddresses ?? []), ...(found.publicAddresses ?? [])];
  const known = Object.fromEntries(Object.entries(found).filter(isKnown));
  return { ...before, ...known, publicAddresses: [...new Set(publicAddresses)] };
}

/** Of what a peer said of itself: news come by two ways, the session and the rendezvous, and the older may be the later. */
export function newerProfile(
  known: NatProfile | undefined,
  news: NatProfile | undefined,
): NatProfile | undefined {
  if (!known || !news) return news ?? known;
  return news.version < known.version ? known : news;
}

/** What travels in a profile. */
const MAX_POOL = 16;
