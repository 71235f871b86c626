import { uint64, utf8 } from '../bytes.ts';
import { endpointBytes, type Endpoint } from '../endpoint.ts';
import { publicKeyOf, verifySignature, type Identity, type PeerId } from '../identity.ts';
import { LIMITS } from '../limits.ts';
import type { Attestation, Candidate, Transport } from '../punch/candidate.ts';

const CONTEXT = 'attestation';

/** Signs that `peer` was seen at `endpoint` at `time` (the rendezvous's own clock, milliseconds). */
export function attest(
  rendezvous: Identity,
  peer: PeerId,
  transport: Transport,
  endpoint: Endpoint,
  time: number,
): Attestation {
  return { time, signature: rendezvous.sign(CONTEXT, ...attestedParts(peer, transport, endpoint, time)) };
}

/** True when `rendezvous` attested this candidate of `peer` at most a lifetime before `now` (its clock). */
export function isAttested(candidate: Candidate, peer: PeerId, rendezvous: PeerId, now: number): boolean {
  const { attestation, transport, endpoint } = candidate;
  if (!attestation || now - attestation.time > LIMITS.attestationLifetimeMs) return false;
  const parts = attestedParts(peer, transport, endpoint, attestation.time);
  return verifySignature(rendezvous, attestation.signature, CONTEXT, ...parts);
}

function attestedParts(peer: PeerId, transport: Transport, endpoint: Endpoint, time: number): Uint8Array[] {
  return [publicKeyOf(peer), utf8(transport), endpointBytes(endpoint), uint64(time)];
}
