import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../src/core/endpoint.ts';
import { PortPrediction } from '../../../src/core/punch/prediction.ts';
import { sequential } from '../../sim/nat-behavior.ts';
import type { NatName } from '../../sim/presets.ts';
import { traverse } from './traversal.ts';

/** Other hosts behind the same NAT take this many ports a second. */
const busy = { udp: { allocation: sequential(1, 20) } };

const PEER = { address: '192.0.2.1', port: 2_000 };

const options = { step: 1, target: PEER, sampler: undefined, width: () => 32, sockets: 0, roundTripMs: 80 };

/** What is sent goes nowhere; the ports are noted. */
function target() {
  const sprayed: number[] = [];
  const spray = (_socket: number, { port }: Endpoint) => void sprayed.push(port);
  return { sprayed, probes: { isSettled: false, contactAt: undefined, spray } };
}

function sampleAt(port: number, seenAt: number) {
  return { transport: 'udp', endpoint: { ...PEER, port }, seenAt } as const;
}

describe('port prediction', () => {
  it('follows four samples of a peer at most, and floods no more for further ones', () => {
    const { probes, sprayed } = target();
    const prediction = new PortPrediction({ ...options, probes, predicted: 'there' }, 0);
    for (let n = 0; n < 500; n++) prediction.sampledThere(sampleAt(3_000 + n, n), n);
    prediction.handleTimeout(10_000);
    expect(sprayed).toHaveLength(4 * 3 * 32);
  });

  it('makes nothing of a sample that is older than a NAT in use stays the same', () => {
    const { probes, sprayed } = target();
    const prediction = new PortPrediction({ ...options, probes, predicted: 'there' }, 0);
    prediction.sampledThere(sampleAt(3_000, 0), 701);
    expect(sprayed).toEqual([]);
    prediction.sampledThere(sampleAt(3_000, 1), 701);
    expect(sprayed).toEqual(Array.from({ length: 32 }, (_, k) => 3_001 + k));
  });

  it.each<[NatName, NatName, string, object, number]>([
    ['ei/apd', 'apd/apd-sequential', 'quiet', {}, 0],
    ['ei/apd', 'apd/apd-sequential', 'busy', { natB: busy }, 5],
    ['apd/apd-sequential', 'cgnat', 'busy', { natA: busy }, 10],
    ['apd/apd-sequential', 'apd/apd-sequential', 'quiet', {}, 0],
    ['apd/apd-sequential', 'apd/apd-sequential', 'busy', { natA: busy, natB: busy }, 5],
  ])('opens %s × %s, %s, at least 98 times of 100', (a, b, name, nats, lossPercent) => {
    const times: number[] = [];
    for (let seed = 0; seed < 100; seed++) {
      const report = traverse({ a, b, ...nats, delayMs: 20, lossPercent, seed, kinds: ['udp', 'relay'] });
      expect(report.a.udp?.technique).toBe(report.b.udp?.technique);
      if (report.a.udp?.technique !== 'port prediction' || !report.b.udp) continue;
      expect(Math.max(report.a.sent, report.b.sent)).toBeLessThanOrEqual(300);
      times.push(Math.max(report.a.udp.at, report.b.udp.at));
    }
    times.sort((x, y) => x - y);
    const [median, most] = [times[Math.floor(times.length / 2)]!, times.at(-1)!];
    console.log(
      `${a} × ${b}, ${name}, ${lossPercent} % loss: ${times.length}, ${median} ms, most ${most} ms`,
    );
    expect(times.length).toBeGreaterThanOrEqual(98);
    expect(median).toBeLessThanOrEqual(290);
  });

  it.each<[NatName, NatName, string, number]>([
    ['apd/apd-sequential', 'apd/apd-sequential', 'port prediction', 0],
    ['apd/apd-sequential', 'apd/apd-sequential', 'port prediction', 120],
    ['apd/apd-sequential', 'ei/apd', 'port prediction', 120],
    ['apd/apd-random', 'ei/apd', 'birthday', 120],
    ['ei/apd', 'apd/apd-sequential', 'port prediction', 120],
  ])('opens %s × %s by %s, the first being measured %s ms after T0', (a, b, technique, late) => {
    for (let seed = 0; seed < 20; seed++) {
      const kinds = ['udp', 'relay'] as const;
      const report = traverse({ a, b, initiatorMeasuredAfterMs: late, delayMs: 20, seed, kinds });
      expect([report.a.udp?.technique, report.b.udp?.technique]).toEqual([technique, technique]);
    }
  });

  it('gives way to a birthday where the ports turn out not to be sequential', () => {
    const misjudged = { udp: { allocation: { kind: 'random' as const } } };
    const { a, b } = traverse({
      a: 'ei/apd',
      b: 'apd/apd-sequential',
      natB: misjudged,
      judgedSequential: true,
      delayMs: 20,
      kinds: ['udp', 'relay'],
    });
    expect(a.udp?.technique).toBe('birthday');
    expect(b.udp?.technique).toBe('birthday');
  });
});
