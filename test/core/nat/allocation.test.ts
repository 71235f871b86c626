import { describe, expect, it } from 'vitest';
import { judgeSamples } from '../../../src/core/nat/allocation.ts';
import type { PortAllocation } from '../../../src/core/nat/behavior.ts';
import { TcpAllocation } from '../../../src/core/nat/tcp-allocation.ts';
import { UdpAllocation } from '../../../src/core/nat/udp-allocation.ts';
import { PRESERVING, RANDOM, sequential, type Allocation } from '../../sim/nat-behavior.ts';
import { twoLans, type NatName } from '../../sim/presets.ts';
import { surveyOptions, surveyTcp, surveyUdp } from './survey-world.ts';
import { startStun } from './stun-world.ts';

const judge = (ports: number[], localPort = 40_000) =>
  judgeSamples(ports.map((externalPort) => ({ localPort, externalPort })));

describe('port allocation from a series', () => {
  it('takes the step from what all differences share', () => {
    expect(judge([5000, 5001, 5002, 5003, 5004, 5005])).toEqual({ kind: 'sequential', step: 1 });
    expect(judge([5000, 5004, 5006, 5008, 5010, 5016])).toEqual({ kind: 'sequential', step: 2 });
    expect(judge([5010, 5008, 5006, 5000, 4998, 4996])).toEqual({ kind: 'sequential', step: -2 });
    expect(judge([5000, 5003, 5005, 5006, 5009, 5012])).toEqual({ kind: 'sequential', step: 1 });
  });

  it('forgives one packet that overtook another', () => {
    expect(judge([5000, 5004, 5002, 5006, 5008, 5010, 5012])).toEqual({ kind: 'sequential', step: 2 });
  });

  it('follows a counter round the end of its range', () => {
    expect(judge([65_530, 65_532, 65_534, 1_024, 1_026, 1_028])).toEqual({ kind: 'sequential', step: 2 });
  });

  it('proves nothing from five ports, nor from the same port again and again', () => {
    expect(judge([5000, 5001, 5002, 5003, 5004]).kind).toBe('unknown');
    expect(judge([5000, 5000, 5000, 5000, 5000, 5000]).kind).toBe('unknown');
  });

  it('sees chance in a small block of ports as well as in all of them', () => {
    expect(judge([5040, 5003, 5055, 5021, 5060, 5011, 5033]).kind).toBe('random');
    expect(judge([50_400, 5003, 15_055, 35_021, 25_060, 61_011, 9_033]).kind).toBe('random');
  });
});

const CASES: [string, NatName, Allocation, PortAllocation][] = [
  ['preserving', 'ei/apd', PRESERVING, { kind: 'preserving' }],
  ['endpoint-independent, random ports', 'ei/apd', RANDOM, { kind: 'random' }],
  ['random', 'apd/apd-random', RANDOM, { kind: 'random' }],
  ['by address, random', 'ad/apd', RANDOM, { kind: 'random' }],
  ['sequential', 'apd/apd-sequential', sequential(1), { kind: 'sequential', step: 1 }],
  ['sequential by two', 'apd/apd-sequential', sequential(2), { kind: 'sequential', step: 2 }],
  ['sequential downwards', 'apd/apd-sequential', sequential(-1), { kind: 'sequential', step: -1 }],
  ['sequential, busy', 'apd/apd-sequential', sequential(2, 20), { kind: 'sequential', step: 2 }],
];

describe.each(CASES)('port allocation from fresh sockets: %s', (_, nat, allocation, truth) => {
  it.each([0, 10])('is measured for UDP and TCP, at %i percent loss', (lossPercent) => {
    for (let seed = 0; seed < 20; seed++) {
      const natA = { udp: { allocation }, tcp: { allocation } };
      const { world, a, server } = twoLans({ a: nat, b: 'open', natA, delayMs: 20, lossPercent, seed });
      const options = surveyOptions(a, startStun(server));
      const udp = surveyUdp(a, new UdpAllocation(options));
      const tcp = surveyTcp(a, new TcpAllocation(options));
      world.runFor(5_000);
      for (const { profile } of [udp, tcp]) {
        const measured = profile?.allocation;
        const mayBeUnknown = lossPercent > 0 && measured?.kind === 'unknown';
        expect(mayBeUnknown ? truth : measured).toEqual(truth);
      }
    }
  });
});

describe('the pool of public addresses', () => {
  it('is seen over all samples', () => {
    const { world, a, server, natA } = twoLans({
      a: 'ei/apd',
      b: 'open',
      natA: { pooling: 'arbitrary' },
      delayMs: 20,
    });
    natA!.rebind(['198.51.100.77', '198.51.100.78']);
    const options = surveyOptions(a, startStun(server));
    const udp = surveyUdp(a, new UdpAllocation(options));
    world.runFor(3_000);
    expect(udp.profile?.publicAddresses?.toSorted()).toEqual(['198.51.100.77', '198.51.100.78']);
  });
});
