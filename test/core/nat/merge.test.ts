import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { UNMEASURED, type NatProfile } from '../../../src/core/nat/behavior.ts';
import { newerProfile } from '../../../src/core/nat/merge.ts';
import { profileFields, profileSchema } from '../../../src/core/nat/profile-schema.ts';

describe('what a peer says of its network', () => {
  const ofVersion = (version: number): NatProfile => ({ version, udp: UNMEASURED, tcp: UNMEASURED });

  it('gives way to what it says later, and not to what it said before', () => {
    const [older, newer, again] = [ofVersion(3), ofVersion(4), ofVersion(4)];
    expect(newerProfile(older, newer)).toBe(newer);
    expect(newerProfile(newer, older)).toBe(newer);
    expect(newerProfile(newer, again)).toBe(again);
  });

  it('stays where nothing is said', () => {
    const known = ofVersion(1);
    expect(newerProfile(known, undefined)).toBe(known);
    expect(newerProfile(undefined, known)).toBe(known);
    expect(newerProfile(undefined, undefined)).toBeUndefined();
  });
});

describe('a profile on its way to the peer', () => {
  it('says how old it is, where that is known', () => {
    const profile: NatProfile = { version: 2, udp: UNMEASURED, tcp: UNMEASURED };
    const arrived = (sent: NatProfile) => v.parse(profileSchema, profileFields(sent));
    expect(arrived({ ...profile, ageSeconds: 90 })).toEqual({ ...profile, ageSeconds: 90 });
    expect(arrived(profile)).not.toHaveProperty('ageSeconds');
  });
});
