/** How often a direct path is used at least, until the lifetime of the mappings that it goes through is measured. */
export const KEEPALIVE_MS = 12_000;

const LEAST_MS = 10_000;
const SHARE_OF_LIFETIME = 0.6;

/**
 * How often a direct path is used so that the NATs at both ends keep its mappings (PROTOCOL §6): 0.6 of the shorter
 * lifetime, never more often than every 10 s.
 * @param lifetimesSeconds of both ends' mappings; what isn't measured is left out
 */
export function keepaliveMs(...lifetimesSeconds: readonly (number | undefined)[]): number {
  const known = lifetimesSeconds.filter((seconds) => seconds !== undefined);
  if (known.length === 0) return KEEPALIVE_MS;
  return Math.max(LEAST_MS, SHARE_OF_LIFETIME * 1_000 * Math.min(...known));
}
