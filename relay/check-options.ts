import * as v from 'valibot';
import { abortSignal, optionsOf } from '../src/core/check-options.ts';
import { serverOptions } from '../src/net/server-options.ts';

export const relayOptions = optionsOf({
  ...serverOptions,
  rendezvous: v.string(),
  limits: v.optional(v.record(v.string(), v.optional(v.number()))),
  signal: v.optional(abortSignal),
});
