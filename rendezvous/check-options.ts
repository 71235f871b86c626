import * as v from 'valibot';
import { abortSignal, optionsOf } from '../src/core/check-options.ts';
import { serverOptions } from '../src/net/server-options.ts';

export const rendezvousOptions = optionsOf({
  ...serverOptions,
  publicAddress: v.optional(v.string()),
  altAddress: v.optional(v.string()),
  ipv6Address: v.optional(v.string()),
  relay: v.optional(v.boolean()),
  relayTokenFile: v.optional(v.string()),
  open: v.optional(v.boolean()),
  signal: v.optional(abortSignal),
});
