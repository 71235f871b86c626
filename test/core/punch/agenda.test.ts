import { describe, expect, it } from 'vitest';
import { UNMEASURED, type NatProfile, type TransportProfile } from '../../../src/core/nat/behavior.ts';
import { Agenda } from '../../../src/core/punch/agenda.ts';
import type { FirstSyn } from '../../../src/core/punch/held-port.ts';
import type { PathChoice } from '../../../src/core/punch/situation.ts';
import type { SessionRole } from '../../../src/core/session/role.ts';

const measured: TransportProfile = { ...UNMEASURED, reachable: true, provisional: false };
const of = (transport: TransportProfile): NatProfile => ({ version: 1, udp: transport, tcp: transport });

const behindNat: TransportProfile = {
  ...measured,
  mapping: 'endpoint-independent',
  filtering: 'address-and-port-dependent',
};

const NATS = {
  unmeasured: undefined,
  'no NAT': of({ ...measured, mapping: 'none' }),
  'a NAT': of(behindNat),
  'a NAT that drops strays': of({ ...behindNat, strays: 'drop' }),
  'a NAT that resets strays': of({ ...behindNat, strays: 'reset' }),
};
type NatName = keyof typeof NATS;

function firstSyn(role: SessionRole, here: NatName, there: NatName, kinds: readonly PathChoice[]): FirstSyn {
  const agenda = new Agenda(role, kinds);
  agenda.knowHere(NATS[here]);
  agenda.knowThere(NATS[there], kinds);
  return agenda.firstSyn;
}

describe('the first SYN from a held port', () => {
  it.each<[here: NatName, there: NatName]>([
    ['no NAT', 'no NAT'],
    ['unmeasured', 'no NAT'],
    ['no NAT', 'unmeasured'],
    ['unmeasured', 'unmeasured'],
  ])('waits for the listeners while none is known to stand behind a NAT: %s × %s', (here, there) => {
    for (const role of ['initiator', 'responder'] as const) {
      expect(firstSyn(role, here, there, ['udp', 'tcp'])).toBe('after the listeners');
      expect(firstSyn(role, here, there, ['tcp'])).toBe('after the listeners');
    }
  });

  it.each<[here: NatName, there: NatName]>([
    ['a NAT that drops strays', 'a NAT'],
    ['a NAT', 'a NAT'],
    ['unmeasured', 'a NAT'],
    ['no NAT', 'a NAT'],
  ])('waits at the initiator for the responder’s, which waits for nothing: %s × %s', (here, there) => {
    for (const kinds of [['udp', 'tcp'], ['tcp']] as const) {
      expect(firstSyn('initiator', here, there, kinds)).toBe('after the other');
      expect(firstSyn('responder', there, here, kinds)).toBe('at once');
    }
  });

  it('leaves at once where the initiator’s NAT is known to answer the other’s by RST', () => {
    expect(firstSyn('initiator', 'a NAT that resets strays', 'a NAT', ['udp', 'tcp'])).toBe('at once');
  });
});
