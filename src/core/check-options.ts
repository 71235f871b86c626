import { setMaxListeners } from 'node:events';
import * as v from 'valibot';
import { SallyportError } from './errors.ts';
import { nearest } from './nearest.ts';

export const texts = v.array(v.string());
/** One may end any number of calls; Node would take more than ten that wait for it for a leak. */
export const abortSignal = v.pipe(
  v.instance(AbortSignal),
  v.transform((signal) => {
    setMaxListeners(0, signal);
    return signal;
  }),
);
/** Milliseconds; `Infinity` waits for ever. */
export const waitingMs = v.pipe(v.number(), v.minValue(0));

/**
 * An object with these options. One that is misspelt would be as if it were left out, and so would all be in a list. What is like none of
 * them is passed over, so that one may give what another version takes.
 */
export function optionsOf<Entries extends v.ObjectEntries>(entries: Entries) {
  const isNoList = v.check((given) => !Array.isArray(given), 'expected an object, not a list');
  return v.pipe(v.unknown(), isNoList, noneMisspelt(Object.keys(entries)), v.object(entries));
}

function noneMisspelt(names: readonly string[]) {
  return v.rawCheck<unknown>(({ dataset: { value: input }, addIssue }) => {
    if (typeof input !== 'object' || input === null) return;
    for (const [key, value] of Object.entries(input)) {
      const meant = names.includes(key) ? undefined : nearest(key, names);
      if (meant === undefined) continue;
      const message = `there is no such option; did you mean ${meant}?`;
      addIssue({ message, path: [{ type: 'unknown', origin: 'key', input, key, value }] });
    }
  });
}

/** The library may be called without types. @throws SallyportError `USAGE`, naming the option */
export function checkOptions(schema: v.GenericSchema, given: unknown): void {
  const { issues } = v.safeParse(schema, given);
  if (!issues) return;
  const [issue] = issues;
  throw new SallyportError('USAGE', `${v.getDotPath(issue) ?? 'options'}: ${issue.message}`);
}
