/** What a unit of time is in milliseconds. */
const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

export type TimeUnit = keyof typeof UNITS;

/**
 * `25s`, `500ms`, `1.5m`, `1h`: as milliseconds, `undefined` for anything else.
 * @param bare the unit of a number that has none, where such a number is taken
 */
export function parseDuration(text: string, bare?: TimeUnit): number | undefined {
  const [, number, unit = bare] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  return number === undefined || unit === undefined ? undefined : Number(number) * UNITS[unit as TimeUnit];
}
