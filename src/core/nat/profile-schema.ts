import * as v from 'valibot';
import { isAddress } from '../address.ts';
import type { NatProfile } from './behavior.ts';

const behavior = v.picklist([
  'none',
  'endpoint-independent',
  'address-dependent',
  'address-and-port-dependent',
  'unknown',
]);

const allocation = v.variant('kind', [
  v.object({ kind: v.literal('preserving') }),
  v.object({
    kind: v.literal('sequential'),
    step: v.pipe(v.number(), v.integer(), v.minValue(-64), v.maxValue(64)),
  }),
  v.object({ kind: v.literal('random') }),
  v.object({ kind: v.literal('unknown') }),
]);

const transportProfile = v.object({
  reachable: v.optional(v.boolean()),
  mapping: behavior,
  filtering: behavior,
  provisional: v.boolean(),
  allocation,
  strays: v.picklist(['drop', 'reset', 'unknown']),
  hairpin: v.optional(v.boolean()),
  lifetimeSeconds: v.optional(v.number()),
  publicAddresses: v.pipe(v.array(v.pipe(v.string(), v.check(isAddress, 'not an address'))), v.maxLength(16)),
});

/** A peer's profile as it travels inside the handshake; absent fields come back as `undefined`. */
export const profileSchema = v.pipe(
  v.object({ version: v.number(), udp: transportProfile, tcp: transportProfile }),
  v.transform((profile): NatProfile => ({
    version: profile.version,
    udp: {
      ...profile.udp,
      hairpin: profile.udp.hairpin,
      lifetimeSeconds: profile.udp.lifetimeSeconds,
      reachable: profile.udp.reachable,
    },
    tcp: {
      ...profile.tcp,
      hairpin: profile.tcp.hairpin,
      lifetimeSeconds: profile.tcp.lifetimeSeconds,
      reachable: profile.tcp.reachable,
    },
  })),
);

/** The profile as plain data for the codec: MessagePack has no `undefined`, so unmeasured fields are left out. */
export function profileFields(profile: NatProfile): Record<string, unknown> {
  return { version: profile.version, udp: measuredFields(profile.udp), tcp: measuredFields(profile.tcp) };
}

function measuredFields(fields: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
