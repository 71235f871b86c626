import { beforeEach, describe, expect, it } from 'vitest';
import { UNMEASURED, type TransportProfile } from '../../../src/core/nat/behavior.ts';
import { MeasuredNat } from '../../../src/core/nat/measured-nat.ts';

const at = (address: string): TransportProfile => ({
  ...UNMEASURED,
  reachable: true,
  mapping: 'endpoint-independent',
  publicAddresses: [address],
});
const NOTHING_COMES: TransportProfile = { ...UNMEASURED, reachable: false };

describe('what surveys have found of a NAT', () => {
  let nat: MeasuredNat;
  beforeEach(() => {
    nat = new MeasuredNat();
    nat.diagnose(at('198.51.100.1'));
    nat.add({ filtering: 'endpoint-independent', publicAddresses: ['198.51.100.1', '198.51.100.2'] });
  });

  it.each([
    ['at once', []],
    ['after a while without any', [NOTHING_COMES]],
    ['after a while in which nothing was measured', [UNMEASURED]],
  ])('goes with the network, which is another one %s', (_, between) => {
    for (const diagnosed of between) expect(nat.diagnose(diagnosed)).toBe(false);
    expect(nat.diagnose(at('203.0.113.9'))).toBe(true);
    expect(nat.profile).toEqual(at('203.0.113.9'));
  });

  it('is there again with that network', () => {
    nat.diagnose(NOTHING_COMES);
    expect(nat.profile).toEqual(NOTHING_COMES);
    expect(nat.diagnose(at('198.51.100.2'))).toBe(false);
    expect(nat.profile).toMatchObject({
      filtering: 'endpoint-independent',
      publicAddresses: ['198.51.100.2', '198.51.100.1'],
    });
  });
});
