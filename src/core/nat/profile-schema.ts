import * as v from 'valibot';
import { isAddress } from '../address.ts';
import type { NatProfile, TransportProfile } from './behavior.ts';

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
  portMapped: v.optional(v.boolean()),
  publicAddresses: v.pipe(v.array(v.pipe(v.string(), v.check(isAddress, 'not an address'))), v.maxLength(16)),
});

/** A peer's profile as it travels inside the handshake; absent fields come back as `undefined`. */
export const profileSchema = v.pipe(
  v.object({
    version: v.number(),
    udp: transportProfile,
    tcp: transportProfile,
    ageSeconds: v.optional(v.pipe(v.number(), v.minValue(0))),
    ipv6: v.optional(v.object({ udp: transportProfile, tcp: transportProfile })),
  }),
  v.transform(({ version, udp, tcp, ageSeconds, ipv6 }): NatProfile => ({
    version,
    udp: withUnmeasured(udp),
    tcp: withUnmeasured(tcp),
    ...(ageSeconds !== undefined && { ageSeconds }),
    ...(ipv6 && { ipv6: { udp: withUnmeasured(ipv6.udp), tcp: withUnmeasured(ipv6.tcp) } }),
  })),
);

function withUnmeasured(profile: v.InferOutput<typeof transportProfile>): TransportProfile {
  const { reachable, hairpin, lifetimeSeconds } = profile;
  return { ...profile, reachable, hairpin, lifetimeSeconds };
}

/** The profile as plain data for the codec: MessagePack has no `undefined`, so unmeasured fields are left out. */
export function profileFields(profile: NatProfile): Record<string, unknown> {
  const { version, udp, tcp, ageSeconds, ipv6 } = profile;
  const over6 = ipv6 && { ipv6: { udp: measuredFields(ipv6.udp), tcp: measuredFields(ipv6.tcp) } };
  const age = ageSeconds === undefined ? {} : { ageSeconds };
  return { version, udp: measuredFields(udp), tcp: measuredFields(tcp), ...age, ...over6 };
}

function measuredFields(fields: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
