import * as v from 'valibot';
import { SallyportError } from './errors.ts';

export const texts = v.array(v.string());
export const abortSignal = v.instance(AbortSignal);
/** Milliseconds; `Infinity` waits for ever. */
export const waitingMs = v.pipe(v.number(), v.minValue(0));

/** An object with these options. A list has none of them, and would pass for one that leaves all of them out. */
export function optionsOf<Entries extends v.ObjectEntries>(entries: Entries) {
  const isNoList = v.check((given) => !Array.isArray(given), 'expected an object, not a list');
  return v.pipe(v.unknown(), isNoList, v.object(entries));
}

/** The library may be called without types. @throws SallyportError `USAGE`, naming the option */
export function checkOptions(schema: v.GenericSchema, given: unknown): void {
  const { issues } = v.safeParse(schema, given);
  if (!issues) return;
  const [issue] = issues;
  throw new SallyportError('USAGE', `${v.getDotPath(issue) ?? 'options'}: ${issue.message}`);
}
