import { describe, expect, it } from 'vitest';
import { identityFromSeed } from '../../../src/core/identity.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { attest, isAttested } from '../../../src/core/protocol/attestation.ts';
import type { Candidate } from '../../../src/core/punch/candidate.ts';

const rendezvous = identityFromSeed(new Uint8Array(32).fill(1));
const peer = identityFromSeed(new Uint8Array(32).fill(2));
const stranger = identityFromSeed(new Uint8Array(32).fill(3));

const seenAt = 1_700_000_000_000;
const endpoint = { address: '198.51.100.1', port: 40_000 };
const candidate: Candidate = {
  type: 'srflx',
  transport: 'udp',
  endpoint,
  attestation: attest(rendezvous, peer.id, 'udp', endpoint, seenAt),
};

describe('an attestation', () => {
  it('holds for a minute', () => {
    const oldest = seenAt + LIMITS.attestationLifetimeMs;
    expect(isAttested(candidate, peer.id, rendezvous.id, oldest)).toBe(true);
    expect(isAttested(candidate, peer.id, rendezvous.id, oldest + 1)).toBe(false);
  });

  it('is not made younger by who passes it on', () => {
    const renewed = { ...candidate, attestation: { ...candidate.attestation!, time: seenAt + 60_000 } };
    expect(isAttested(renewed, peer.id, rendezvous.id, seenAt + 61_000)).toBe(false);
  });

  it('holds for the peer, the transport and the endpoint that it names, and by the deployment that signed it', () => {
    const holds = (change: Partial<Candidate>, of = peer.id, by = rendezvous.id) =>
      isAttested({ ...candidate, ...change }, of, by, seenAt);
    expect(holds({})).toBe(true);
    expect(holds({ transport: 'tcp' })).toBe(false);
    expect(holds({ endpoint: { ...endpoint, port: 40_001 } })).toBe(false);
    expect(holds({ endpoint: { ...endpoint, address: '198.51.100.2' } })).toBe(false);
    expect(holds({}, stranger.id)).toBe(false);
    expect(holds({}, peer.id, stranger.id)).toBe(false);
  });

  it('is needed', () => {
    expect(isAttested({ ...candidate, attestation: undefined }, peer.id, rendezvous.id, seenAt)).toBe(false);
  });
});
