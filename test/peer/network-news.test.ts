import { describe, expect, it } from 'vitest';
import { NetworkNews } from '../../peer/network-news.ts';
import { UNMEASURED, type NatProfile } from '../../src/core/nat/behavior.ts';
import type { Candidate } from '../../src/core/punch/candidate.ts';

const unmeasured: NatProfile = { version: 0, udp: UNMEASURED, tcp: UNMEASURED };
const measured: NatProfile = { ...unmeasured, version: 2, udp: { ...UNMEASURED, reachable: true } };
const host: Candidate = { type: 'host', transport: 'udp', endpoint: { address: '192.168.1.2', port: 4000 } };
const mapped: Candidate = {
  type: 'srflx',
  transport: 'udp',
  endpoint: { address: '198.51.100.1', port: 4000 },
  attestation: { time: 1, signature: new Uint8Array(64) },
};

describe('news of the network', () => {
  it('leave out what the offer or the answer has said', () => {
    const news = new NetworkNews();
    news.told({ candidates: [mapped], profile: unmeasured });
    expect(news.of({ candidates: [mapped, host], profile: unmeasured })).toEqual({ candidates: [host] });
    expect(news.of({ candidates: [mapped, host], profile: measured })).toEqual({ profile: measured });
  });

  it('are none where only a version or an attestation is fresher', () => {
    const news = new NetworkNews();
    news.told({ candidates: [mapped], profile: measured });
    const fresher = { ...mapped, attestation: { time: 2, signature: new Uint8Array(64) } };
    expect(news.of({ candidates: [fresher], profile: { ...measured, version: 3 } })).toBeUndefined();
  });

  it('are everything once the peer has forgotten', () => {
    const news = new NetworkNews();
    const face = { candidates: [mapped, host], profile: measured };
    news.told(face);
    news.forgotten();
    expect(news.of(face)).toEqual(face);
    expect(news.of(face)).toBeUndefined();
  });
});
