import * as v from 'valibot';
import { SallyportError } from '../src/core/errors.ts';

const texts = v.array(v.string());

const peerOptions = v.object({
  home: v.optional(v.string()),
  rendezvous: v.optional(v.union([v.string(), texts])),
  allow: v.optional(texts),
  name: v.optional(v.string()),
  role: v.optional(v.picklist(['listen', 'dial'])),
});

const call = v.object({ to: v.string(), paths: texts, services: v.optional(texts) });

/** The library may be called without types. @throws SallyportError `USAGE`, naming the option */
export function checkPeerOptions(options: unknown): void {
  check(peerOptions, options);
}

/** The same for what is given to a call to another peer. */
export function checkCall(given: { to: unknown; paths: unknown; services?: unknown }): void {
  check(call, given);
}

function check(schema: v.GenericSchema, given: unknown): void {
  const { issues } = v.safeParse(schema, given);
  if (!issues) return;
  const [issue] = issues;
  throw new SallyportError('USAGE', `${v.getDotPath(issue) ?? 'options'}: ${issue.message}`);
}
