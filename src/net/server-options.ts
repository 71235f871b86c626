import * as v from 'valibot';

const text = v.optional(v.string());

/** What every server takes, as `checkOptions` checks it. A switch that is no boolean could mean either: cleartext is never guessed. */
export const serverOptions = {
  listen: text,
  publicUrl: text,
  stunPort: v.optional(v.number()),
  tokenFile: text,
  home: text,
  tlsCert: text,
  tlsKey: text,
  insecure: v.optional(v.boolean()),
};
