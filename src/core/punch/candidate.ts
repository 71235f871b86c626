import * as v from 'valibot';
import { canonicalAddress, isAddress } from '../address.ts';
import { bytesOf, milliseconds } from '../codec.ts';
import type { Endpoint } from '../endpoint.ts';

export type Transport = 'udp' | 'tcp';

/** RFC 8445 §5.1.1, and `mapped` for an explicit port mapping (UPnP-IGD, NAT-PMP, PCP). */
export type CandidateType = 'host' | 'srflx' | 'prflx' | 'mapped';

/**
 * A rendezvous's word that it saw `endpoint` as the source of an authenticated STUN request of this peer
 * (docs/protocol.md, "STUN"). Floods go only to attested addresses.
 */
export interface Attestation {
  /** The rendezvous's clock, milliseconds. */
  readonly time: number;
  /** 64 bytes, see `attestationBytes` in `protocol/attestation.ts`. */
  readonly signature: Uint8Array;
}

/** A transport address at which a peer may be reached. */
export interface Candidate {
  readonly type: CandidateType;
  readonly transport: Transport;
  readonly endpoint: Endpoint;
  readonly attestation?: Attestation | undefined;
}

export const portSchema = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535));

/** An address and port as they travel inside control messages; read into the one spelling that filters judge. */
export const endpointSchema = v.object({
  address: v.pipe(
    v.string(),
    v.maxLength(45),
    v.check(isAddress, 'not an address'),
    v.transform(canonicalAddress),
  ),
  port: portSchema,
});

export const candidateSchema = v.object({
  type: v.picklist(['host', 'srflx', 'prflx', 'mapped']),
  transport: v.picklist(['udp', 'tcp']),
  endpoint: endpointSchema,
  attestation: v.optional(v.object({ time: milliseconds, signature: bytesOf(64) })),
});
