import { describe, expect, it } from 'vitest';
import { FrameType } from '../../../src/core/session/frame.ts';
import { SessionMachine } from '../../../src/core/session/session.ts';
import { Pair, pattern, type LinkOptions } from './pair.ts';

const MIB = 1024 * 1024;
const relay: LinkOptions = { delayMs: 40, info: { kind: 'relay-h1', direct: false } };
const direct: LinkOptions = { delayMs: 10, info: { kind: 'udp', direct: true } };

/** The relay's, and two that are direct, of which the one by TCP is sent on. */
function withThreePaths(): { pair: Pair; first: number; tcp: number; udp: number } {
  const pair = new Pair();
  const first = pair.addPath(relay);
  const tcp = pair.addPath({ ...direct, info: { kind: 'tcp', direct: true } });
  const udp = pair.addPath({ ...direct, delayMs: 12 });
  return { pair, first, tcp, udp };
}

describe('moving between paths', () => {
  it('starts on the relay and upgrades to direct at once when it is confirmed', () => {
    const pair = new Pair();
    const first = pair.addPath(relay);
    pair.run(500);
    expect(pair.a.active).toBe(first);
    const second = pair.addPath(direct);
    pair.run(11);
    expect([pair.a.active, pair.b.active]).toEqual([second, second]);
    expect(pair.a.events.at(-1)).toMatchObject({ state: 'active', reason: 'direct before relay' });
  });

  it('moves in the middle of a transfer without losing or doubling a byte', () => {
    const pair = new Pair();
    pair.addPath({ ...relay, rate: 2000 });
    const stream = pair.a.open();
    pair.a.write(stream, pattern(8 * MIB));
    pair.run(1000);
    const path = pair.addPath({ ...direct, rate: 5000 });
    pair.run(700);
    pair.killPath(path);
    pair.run(20_000);
    expect(pair.b.bytesOf(stream).equals(pattern(8 * MIB))).toBe(true);
  });

  it('begins with ATTACH, also where an acknowledgement is owed already', () => {
    const sessionId = Buffer.alloc(16);
    const path = { id: 1, kind: 'tcp', direct: true } as const;
    const [early, late] = (['initiator', 'responder'] as const).map((role) => {
      const machine = new SessionMachine({ role, sessionId }, 0);
      machine.handle({ type: 'path-up', path }, 0);
      return machine;
    }) as [SessionMachine, SessionMachine];
    const stream = early.reserveStream();
    early.handle({ type: 'open', stream, header: new Uint8Array(0) }, 0);
    early.handle({ type: 'write', stream, chunks: [pattern(32 * 1024)] }, 0);
    for (const bytes of transmitted(early)) late.handle({ type: 'path-bytes', path: 1, bytes }, 1);
    const answer = Buffer.concat(transmitted(late));
    expect(answer[0]).toBe(FrameType.ATTACH);
    early.handle({ type: 'path-bytes', path: 1, bytes: answer }, 2);
    expect(early.stats).toMatchObject({ unacknowledgedFrames: 0, paths: [{ confirmed: true }] });
  });

  it('resumes inside a frame: the part that had come is not delivered again', () => {
    const pair = new Pair();
    pair.chunkBytes = 1000;
    const path = pair.addPath({ delayMs: 20, rate: 100 });
    const stream = pair.a.open();
    pair.a.write(stream, pattern(3000));
    pair.run(20 + 15);
    expect(pair.b.of(stream).bytes).toBeGreaterThan(0);
    expect(pair.b.of(stream).bytes).toBeLessThan(3000);
    pair.killPath(path);
    pair.addPath({ delayMs: 20 });
    pair.run(1000);
    expect(pair.b.bytesOf(stream).equals(pattern(3000))).toBe(true);
  });

  it('falls back at once when the carrier fails, and asks for a new direct path', () => {
    const pair = new Pair();
    const first = pair.addPath(relay);
    const second = pair.addPath(direct);
    pair.run(1000);
    pair.killPath(second, 'connection reset');
    expect(pair.a.active).toBe(first);
    expect(pair.a.events.slice(-2)).toMatchObject([
      { state: 'down', reason: 'connection reset' },
      { state: 'active', reason: 'connection reset; the only usable path' },
    ]);
    expect(pair.a.wanted).toEqual(['no direct path: connection reset']);
  });

  it('upgrades less and less often while direct paths keep failing', () => {
    const pair = new Pair();
    pair.addPath(relay);
    pair.run(1000);
    const waits = [];
    for (let round = 0; round < 8; round += 1) {
      const path = pair.addPath(direct);
      const added = pair.now;
      pair.run(400_000, () => pair.a.active === path);
      waits.push(Math.round((pair.now - added) / 1000));
      pair.run(100);
      pair.killPath(path);
    }
    // The first doesn't count, the second is in hand; then the pause grows with each that failed.
    expect(waits).toEqual([0, 0, 20, 40, 80, 160, 300, 300]);
  });

  it('upgrades once in ten seconds at most when a direct path that had lasted comes and goes', () => {
    const pair = new Pair();
    pair.addPath(relay);
    let path = pair.addPath(direct);
    pair.run(60_000);
    const upgrades: number[] = [];
    for (let flaps = 0; flaps < 15; flaps += 1) {
      pair.killPath(path);
      pair.run(2_000);
      path = pair.addPath(direct);
      const before = pair.a.active;
      pair.run(2_000, () => pair.a.active === path);
      if (pair.a.active === path && before !== path) upgrades.push(pair.now);
      pair.run(2_000);
    }
    const pauses = upgrades.slice(1).map((at, index) => at - upgrades[index]!);
    expect(upgrades.length).toBeGreaterThan(1);
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(10_000);
  });

  it('waits with an upgrade until the stream of the better path answers', () => {
    const pair = new Pair();
    const first = pair.addPath(relay);
    for (let failed = 0; failed < 2; failed += 1) {
      const path = pair.addPath(direct);
      pair.run(100);
      pair.killPath(path);
    }
    const better = pair.addPath(direct);
    pair.run(15_000);
    const restoredAt = pair.now + 10_000; // the gate opens five seconds earlier
    pair.cutWhile(better, (at) => at < restoredAt);
    pair.run(9_000);
    expect([pair.a.active, pair.b.active]).toEqual([first, first]);
    expect(pair.a.states(better)).toEqual(['up']);
    pair.run(60_000, () => pair.a.active === better);
    expect(pair.now).toBeGreaterThan(restoredAt);
  });

  it('upgrades at once again after a direct path that had lasted', () => {
    const pair = new Pair();
    pair.addPath(relay);
    const path = pair.addPath(direct);
    pair.run(120_000);
    pair.killPath(path);
    const again = pair.addPath(direct);
    pair.run(11);
    expect(pair.a.active).toBe(again);
  });

  it('does not count it as an upgrade that a direct path was there first and confirmed last', () => {
    const pair = new Pair();
    const first = pair.addPath({ ...direct, delayMs: 40 });
    const relayed = pair.addPath({ ...relay, delayMs: 10 });
    pair.run(20);
    expect(pair.a.active).toBe(relayed);
    pair.run(3_000);
    expect(pair.a.active).toBe(first);
    pair.killPath(first);
    const again = pair.addPath(direct);
    pair.run(11);
    expect(pair.a.active).toBe(again);
  });

  it('prefers kernel TCP for bulk, and stays where it is otherwise', () => {
    const pair = new Pair();
    const udp = pair.addPath({ delayMs: 10, rate: 5000, info: { kind: 'udp' } });
    const tcp = pair.addPath({ delayMs: 11, rate: 5000, info: { kind: 'tcp' } });
    pair.run(30_000);
    expect(pair.a.active).toBe(udp);
    const stream = pair.a.open();
    pair.a.write(stream, Buffer.alloc(64 * MIB));
    pair.run(10_000, () => pair.a.active === tcp);
    expect(pair.a.active).toBe(tcp);
    expect(pair.b.active).toBe(udp);
  });

  it('leaves a path whose keys have served for too many records, without losing a byte', () => {
    const pair = new Pair({ limits: { pathRecords: 100 } });
    pair.addPath({ ...relay, rate: 2000 });
    const worn = pair.addPath({ ...direct, rate: 5000 });
    const stream = pair.a.open();
    pair.a.write(stream, pattern(6 * MIB));
    for (let replaced = 0; replaced < 8; replaced += 1) {
      pair.run(1_000);
      pair.addPath({ ...relay, rate: 2000 });
    }
    pair.run(10_000);
    expect(pair.a.events).toContainEqual(
      expect.objectContaining({ state: 'down', reason: 'its keys have served long enough' }),
    );
    expect(pair.a.states(worn).at(-1)).toBe('down');
    expect(pair.b.states(worn).at(-1)).toBe('down');
    expect(pair.b.bytesOf(stream).equals(pattern(6 * MIB))).toBe(true);
  });

  it('attaches paths of a new epoch beside those of the old', () => {
    const pair = new Pair();
    const old = pair.addPath(direct);
    pair.run(100);
    pair.a.handle({ type: 'epoch', epoch: 1 });
    pair.b.handle({ type: 'epoch', epoch: 1 });
    const renewed = pair.addPath(direct);
    pair.run(100);
    expect(pair.a.states(renewed)).toEqual(['up']);
    expect(pair.a.states(old)).toEqual(['up', 'active']);
  });
});

describe('death of a path', () => {
  it('is judged by data: 1.5 s without progress sends on the next path', () => {
    const pair = new Pair();
    const first = pair.addPath(relay);
    const second = pair.addPath(direct);
    pair.run(2000);
    pair.blackhole(second);
    const stream = pair.a.open();
    pair.a.write(stream, pattern(10_000));
    const started = pair.now;
    pair.run(10_000, () => pair.a.active === first);
    expect(pair.now - started).toBe(1500);
    pair.run(100);
    expect(pair.b.bytesOf(stream).equals(pattern(10_000))).toBe(true);
  });

  it('is not concluded from what loss holds up, while the path answers beside it', () => {
    const pair = new Pair();
    pair.addPath(relay);
    const second = pair.addPath(direct);
    pair.run(2000);
    pair.hold(second, 4000, 3);
    const stream = pair.a.open();
    pair.a.write(stream, pattern(10_000));
    pair.run(10_000);
    expect(pair.a.states(second)).toEqual(['up', 'active']);
    expect(pair.b.bytesOf(stream).equals(pattern(10_000))).toBe(true);
    const checks = pair.a.counts.get('check');
    expect(checks).toBeGreaterThan(10);
    pair.run(60_000);
    expect(pair.a.counts.get('check')).toBe(checks);
  });

  it('is concluded from data that nothing acknowledges for 10 s, whatever passes beside it', () => {
    const pair = new Pair();
    const first = pair.addPath(relay);
    const second = pair.addPath(direct);
    pair.run(2000);
    pair.hold(second, Infinity, 3);
    pair.a.write(pair.a.open(), pattern(10_000));
    const started = pair.now;
    pair.run(60_000, () => pair.a.active === first);
    expect(pair.now - started).toBe(10_000);
  });

  it('is concluded on the last path 5 s later, at both ends, and another is asked for once', () => {
    const pair = new Pair();
    const path = pair.addPath(direct);
    pair.run(2000);
    pair.hold(path, Infinity, 3);
    pair.a.write(pair.a.open(), pattern(10_000));
    pair.b.write(pair.b.open(), pattern(10_000));
    const started = pair.now;
    pair.run(60_000, () => pair.a.states(path).includes('down'));
    expect(pair.now - started).toBe(15_000);
    expect(pair.a.wanted).toEqual(['the last path is silent', 'no path: no acknowledgement']);
  });

  it('is concluded within 5 s where nothing but short packets passes, last or not, and another is asked for', () => {
    for (const relays of [0, 1]) {
      const pair = new Pair();
      for (let count = 0; count < relays; count += 1) pair.addPath(relay);
      const path = pair.addPath(direct);
      pair.run(2000);
      pair.hold(path, Infinity);
      pair.a.write(pair.a.open(), pattern(10_000));
      const started = pair.now;
      pair.run(60_000, () => pair.a.states(path).includes('down'));
      expect(pair.now - started).toBeLessThan(5_000);
      expect(pair.a.events.find(({ state }) => state === 'down')?.reason).toMatch(/may be too long/);
      expect(pair.a.wanted.at(-1)).toMatch(/^no (direct )?path: /);
    }
  });

  it('is concluded as soon where the relay passes nothing long either, and another circuit comes up again and again', () => {
    const pair = new Pair();
    const circuit = () => pair.addPath({ ...relay, delayMs: 5 });
    let first = circuit();
    const path = pair.addPath(direct);
    pair.run(2000);
    pair.hold(path, Infinity);
    pair.blackhole(first);
    pair.a.write(pair.a.open(), pattern(10_000));
    const started = pair.now;
    const isDown = () => pair.a.states(path).includes('down');
    while (pair.now - started < 60_000 && !isDown()) {
      pair.run(60_000, () => isDown() || pair.a.states(first).includes('down'));
      first = circuit();
      pair.run(100);
      pair.hold(first, Infinity);
    }
    expect(pair.now - started).toBeLessThan(5_000);
  });

  it('is not concluded on a slow path that is cut for a while, whose carrier has much to send again', () => {
    for (const cutMs of [1_200, 2_500]) {
      const pair = new Pair();
      const path = pair.addPath({ ...direct, delayMs: 30, rate: 8 });
      const from = 20_000;
      pair.cutWhile(path, (at) => at >= from && at < from + cutMs);
      const stream = pair.a.open();
      pair.a.write(stream, pattern(MIB / 2));
      pair.run(120_000);
      expect(pair.a.states(path)).toEqual(['up', 'active']);
      expect(pair.b.of(stream).bytes).toBe(MIB / 2);
    }
  });

  it('is not concluded where every check is answered, but the relay carries on until the stream has answered too', () => {
    const pair = new Pair();
    const first = pair.addPath(relay);
    const second = pair.addPath(direct);
    pair.run(2000);
    pair.hold(second, 4000);
    const stream = pair.a.open();
    pair.a.write(stream, pattern(10_000));
    pair.run(1_300);
    expect(pair.a.active).toBe(first);
    expect(pair.b.bytesOf(stream).equals(pattern(10_000))).toBe(true);
    pair.run(2_600);
    expect(pair.a.active).toBe(first);
    pair.run(1_000);
    expect(pair.a.active).toBe(second);
    expect(pair.a.states(second)).toEqual(['up', 'active', 'active']);
  });

  it('that took its like with it falls back to the one that still answers, not from one dead path to the next', () => {
    const { pair, first, tcp, udp } = withThreePaths();
    pair.run(2000);
    expect(pair.a.active).toBe(tcp);
    pair.blackhole(tcp);
    pair.blackhole(udp);
    const stream = pair.a.open();
    pair.a.write(stream, pattern(10_000));
    const started = pair.now;
    pair.run(10_000, () => pair.a.active !== tcp);
    expect(pair.a.active).toBe(first);
    expect(pair.now - started).toBe(1500);
    pair.run(5000);
    expect(pair.a.states(udp)).toContain('down');
    expect(pair.a.wanted).toEqual(['no direct path: no answer to pings']);
  });

  it('is not followed by a fall to one that answered a moment before it died as well', () => {
    const { pair, first, tcp, udp } = withThreePaths();
    pair.run(2000);
    expect(pair.a.active).toBe(tcp);
    const before = pair.a.events.length;
    pair.blackhole(tcp);
    pair.a.write(pair.a.open(), pattern(10_000));
    pair.run(100);
    pair.a.handle({ type: 'ping', token: 1, path: udp });
    pair.run(100);
    expect(pair.a.pongs.at(-1)).toMatchObject({ token: 1, rttMs: 24 });
    pair.blackhole(udp);
    pair.run(10_000);
    const moves = pair.a.events.slice(before).filter(({ state }) => state === 'active');
    expect(moves.map(({ path }) => path.id)).toEqual([first]);
  });

  it('that the peer has noticed first is not followed by a fall to another dead path', () => {
    const { pair, first, tcp, udp } = withThreePaths();
    const streams = [pair.a.open(), pair.b.open()] as const;
    pair.run(2000);
    expect(pair.b.active).toBe(tcp);
    pair.blackhole(tcp);
    pair.blackhole(udp);
    const before = pair.b.events.length;
    pair.a.write(streams[0], pattern(10_000));
    pair.run(60);
    pair.b.write(streams[1], pattern(10_000));
    pair.run(10_000);
    const moves = pair.b.events.slice(before).filter(({ state }) => state === 'active');
    expect(moves.map(({ path }) => path.id)).toEqual([first]);
  });

  it('is learnt from the peer, who has left it for the relay', () => {
    const pair = new Pair();
    const first = pair.addPath(relay);
    const second = pair.addPath(direct);
    pair.run(2000);
    const stream = pair.a.open();
    pair.run(100);
    pair.blackhole(second);
    pair.a.write(stream, pattern(1000));
    const started = pair.now;
    pair.run(10_000, () => pair.b.active === first);
    expect(pair.now - started).toBe(1500 + 40 + 750);
  });

  it('is not concluded from a peer that is merely late to follow', () => {
    const pair = new Pair();
    pair.addPath(relay);
    const second = pair.addPath(direct);
    pair.b.write(pair.b.open(), pattern(1000));
    pair.run(5000);
    expect(pair.a.active).toBe(second);
    expect(pair.a.states(second)).toEqual(['up', 'active']);
  });

  it('alone leaves its like in use', () => {
    const pair = new Pair();
    pair.addPath(relay);
    const tcp = pair.addPath({ ...direct, info: { kind: 'tcp', direct: true } });
    const udp = pair.addPath({ ...direct, delayMs: 12 });
    pair.run(2000);
    pair.blackhole(tcp);
    pair.a.write(pair.a.open(), pattern(10_000));
    pair.run(10_000, () => pair.a.active !== tcp);
    expect(pair.a.active).toBe(udp);
  });

  it('shows as soon after a quiet conversation, whose pace says nothing about the path', () => {
    const pair = new Pair();
    const first = pair.addPath(relay);
    const second = pair.addPath(direct);
    pair.run(2000);
    const stream = pair.a.open('x');
    pair.run(100);
    pair.blackhole(second);
    pair.a.write(stream, pattern(4000));
    const started = pair.now;
    pair.run(10_000, () => pair.a.active === first);
    expect(pair.now - started).toBe(1500);
  });

  it('waits three round trips where these are longer', () => {
    const pair = new Pair();
    pair.addPath(relay);
    const slow = pair.addPath({ ...direct, delayMs: 400 });
    pair.run(4000);
    expect(pair.a.active).toBe(slow);
    pair.blackhole(slow);
    const stream = pair.a.open();
    pair.a.write(stream, pattern(100));
    const started = pair.now;
    pair.run(10_000, () => pair.a.active !== slow);
    expect(pair.now - started).toBeGreaterThanOrEqual(2400);
    expect(pair.now - started).toBeLessThan(2500);
  });

  it('does not take longer to show on a path that stood still as it came up', () => {
    const pair = new Pair();
    pair.addPath(relay);
    const stream = pair.a.open();
    const path = pair.addPath(direct);
    pair.run(5);
    pair.hold(path, 2000); // the answer to the responder's first PING
    pair.run(6000);
    expect(pair.b.active).toBe(path);
    pair.blackhole(path);
    pair.b.write(stream, pattern(1000));
    pair.run(1600);
    expect(pair.b.states(path)).toContain('down');
  });

  it('does not take longer to show on a path that has often stood still', () => {
    const pair = new Pair();
    const path = pair.addPath(direct);
    const stream = pair.a.open();
    pair.run(1000);
    for (let silences = 0; silences < 5; silences += 1) {
      const startedAt = pair.now;
      pair.cutWhile(path, (at) => at >= startedAt && at < startedAt + 4_000);
      pair.a.write(stream, pattern(20_000));
      pair.run(20_000);
    }
    pair.addPath(relay);
    pair.run(1000);
    pair.blackhole(path);
    pair.a.write(stream, pattern(1000));
    const started = pair.now;
    pair.run(10_000, () => pair.a.active !== path);
    expect(pair.now - started).toBe(1500);
  });

  it.each([
    { delayMs: 1000, from: 4_500 },
    { delayMs: 2500, from: 7_500 },
  ])('waits for a way that has become longer, and stays so, by 3 s: $delayMs ms', ({ delayMs, from }) => {
    const pair = new Pair();
    pair.addPath(relay);
    const path = pair.addPath(direct);
    pair.run(1000);
    pair.change(path, { delayMs });
    pair.run(400_000);
    const rttMs = pair.a.machine.stats.paths.find(({ active }) => active)!.rttMs!;
    expect(rttMs).toBeGreaterThan(1.9 * delayMs);
    pair.blackhole(path);
    pair.a.write(pair.a.open(), pattern(1000));
    const started = pair.now;
    pair.run(15_000, () => pair.a.active !== path);
    expect(pair.now - started).toBeGreaterThan(from);
    expect(pair.now - started).toBeLessThan(2 * delayMs + 3_100);
  });

  it('does not befall a slow path that keeps delivering, even both ways at once', () => {
    const pair = new Pair();
    pair.addPath(relay);
    const slow = pair.addPath({ ...direct, rate: 30 });
    const stream = pair.a.open();
    pair.run(1000);
    pair.a.write(stream, pattern(2 * MIB));
    pair.b.write(stream, pattern(2 * MIB));
    pair.run(120_000);
    expect(pair.b.of(stream).bytes).toBe(2 * MIB);
    expect(pair.a.of(stream).bytes).toBe(2 * MIB);
    expect(pair.a.states(slow)).toEqual(['up', 'active']);
  });

  it('shows within 15 s on an idle path', () => {
    const pair = new Pair();
    pair.addPath(relay);
    const second = pair.addPath(direct);
    pair.run(30_000);
    pair.blackhole(second);
    const started = pair.now;
    pair.run(60_000, () => pair.a.states(second).includes('down'));
    expect(pair.now - started).toBeLessThanOrEqual(15_000);
    expect(pair.now - started).toBeGreaterThan(9000);
  });

  it('is not concluded from the silence of one that stood by and was seldom asked', () => {
    const pair = new Pair();
    const first = pair.addPath(direct);
    const second = pair.addPath({ delayMs: 20, info: { kind: 'udp', direct: true } });
    for (const end of [pair.a, pair.b]) end.handle({ type: 'keepalive', everyMs: 72_000 });
    pair.run(100_000);
    const [sending, standby] = pair.a.active === first ? [first, second] : [second, first];
    pair.killPath(sending);
    pair.run(30_000);
    expect(pair.a.active).toBe(standby);
    expect(pair.a.states(standby)).not.toContain('down');
  });

  it('shows on a path that stands by as well', () => {
    const pair = new Pair();
    const first = pair.addPath(relay);
    pair.addPath(direct);
    pair.run(1000);
    pair.blackhole(first);
    pair.run(60_000);
    expect(pair.a.states(first)).toContain('down');
  });

  it('shows within two seconds on every path after a change of network, and not on those that answer', () => {
    const pair = new Pair();
    const alive = pair.addPath(relay);
    const lost = [pair.addPath(direct), pair.addPath(direct)];
    pair.run(30_000);
    for (const path of lost) pair.blackhole(path);
    pair.a.handle({ type: 'question' });
    const started = pair.now;
    pair.run(60_000, () => lost.every((path) => pair.a.states(path).includes('down')));
    expect(pair.now - started).toBeLessThanOrEqual(2_000);
    pair.run(10_000);
    expect(pair.a.active).toBe(alive);
    expect(pair.a.states(alive)).not.toContain('down');
  });

  it('shows within two seconds on the one path that is doubted, but for the last', () => {
    const pair = new Pair();
    const [silent, quiet] = [pair.addPath(direct), pair.addPath(direct)];
    pair.run(30_000);
    for (const path of [silent, quiet]) pair.blackhole(path);
    pair.a.handle({ type: 'question', path: silent });
    const started = pair.now;
    pair.run(60_000, () => pair.a.states(silent).includes('down'));
    expect(pair.now - started).toBeLessThanOrEqual(2_000);
    expect(pair.a.states(quiet)).not.toContain('down');
    pair.a.handle({ type: 'question', path: quiet });
    pair.run(2_000);
    expect(pair.a.states(quiet)).not.toContain('down');
  });

  it.each([
    ['which is sent on', true],
    ['which stands by', false],
  ])('on the path that is doubted, %s, has this end pass over others that are silent too', (_, isActive) => {
    const pair = new Pair();
    const alive = pair.addPath(relay);
    const silent = [pair.addPath(direct), pair.addPath(direct)];
    pair.run(30_000);
    for (const path of silent) pair.blackhole(path);
    const doubted = silent.find((path) => (path === pair.a.active) === isActive)!;
    pair.a.handle({ type: 'question', path: doubted });
    const started = pair.now;
    pair.run(60_000, () => pair.a.active === alive);
    expect(pair.now - started).toBeLessThanOrEqual(800);
  });

  it('of the last path is only a suspicion for 15 s, while another is asked for', () => {
    const pair = new Pair();
    const path = pair.addPath(direct);
    pair.run(1000);
    pair.blackhole(path);
    const stream = pair.a.open();
    pair.a.write(stream, pattern(1000));
    pair.run(2000);
    expect(pair.a.wanted).toEqual(['the last path is silent']);
    expect(pair.a.states(path)).toEqual(['up', 'active']);
    pair.run(13_500);
    expect(pair.a.states(path)).toEqual(['up', 'active', 'down']);
  });

  it('of the last path, a circuit, is no longer borne when this end was cut off and has reached the rendezvous again', () => {
    const pair = new Pair();
    const path = pair.addPath(relay);
    pair.run(1000);
    pair.blackhole(path);
    pair.a.write(pair.a.open(), pattern(1000));
    pair.run(8000);
    expect(pair.a.states(path)).toEqual(['up', 'active']);
    pair.a.handle({ type: 'reconnected' });
    pair.run(1);
    expect(pair.a.states(path)).toEqual(['up', 'active', 'down']);
  });

  it('of a circuit that shows itself only after that has no more patience than beside another path', () => {
    const pair = new Pair();
    const path = pair.addPath(relay);
    pair.run(1000);
    pair.blackhole(path);
    pair.run(2000);
    pair.a.handle({ type: 'reconnected' });
    pair.run(500);
    pair.a.write(pair.a.open(), pattern(1000));
    pair.run(1_600);
    expect(pair.a.states(path)).toEqual(['up', 'active', 'down']);
  });

  it('is nothing that reconnecting puts an end to, where the circuit has answered since or the path is direct', () => {
    for (const [options, answers] of [
      [relay, true],
      [direct, false],
    ] as const) {
      const pair = new Pair();
      const path = pair.addPath(options);
      pair.run(1000);
      if (!answers) pair.blackhole(path);
      pair.a.handle({ type: 'reconnected' });
      pair.run(500);
      pair.blackhole(path);
      pair.a.write(pair.a.open(), pattern(1000));
      pair.run(10_000);
      expect(pair.a.states(path)).toEqual(['up', 'active']);
    }
  });

  it('is not blamed on a path when this process itself stood still', () => {
    const pair = new Pair();
    pair.addPath(relay);
    const path = pair.addPath(direct);
    pair.run(10_000);
    const { machine } = pair.a;
    machine.handleTimeout(pair.now + 60_000);
    expect(machine.stats.paths.map((stats) => stats.path.id)).toContain(path);
    expect(machine.stats.paths).toHaveLength(2);
  });
});

describe('a session without a path', () => {
  it('keeps everything for a peer that comes back', () => {
    const pair = new Pair();
    const path = pair.addPath(direct);
    const stream = pair.a.open();
    pair.run(100);
    pair.a.write(stream, pattern(100_000));
    pair.killPath(path);
    pair.run(119_000);
    expect(pair.a.closed).toBeUndefined();
    pair.addPath(relay);
    pair.run(1000);
    expect(pair.b.bytesOf(stream).equals(pattern(100_000))).toBe(true);
  });

  it('ends as PEER_LOST after 120 s', () => {
    const pair = new Pair();
    const path = pair.addPath(direct);
    pair.run(100);
    pair.killPath(path);
    pair.run(119_999);
    expect(pair.a.closed).toBeUndefined();
    pair.run(1);
    expect([pair.a.closed, pair.b.closed]).toMatchObject([{ code: 'PEER_LOST' }, { code: 'PEER_LOST' }]);
  });

  it('ends then whenever its last path was lost', () => {
    const machine = new SessionMachine(
      { role: 'initiator', sessionId: Buffer.alloc(16) },
      12_386.773691700957,
    );
    const due = machine.deadline ?? 0;
    machine.handleTimeout(due);
    expect(machine.deadline).toBeUndefined();
  });

  it('ends once where its process stood still past all that would have ended it', () => {
    const pair = new Pair();
    const path = pair.addPath(direct);
    pair.run(100);
    pair.killPath(path);
    pair.a.handle({ type: 'close' });
    pair.a.machine.handleTimeout(pair.now + 130_000);
    pair.a.drain();
    expect(pair.a.counts.get('closed')).toBe(1);
  });

  it('does not send again what the peer says on attaching that it has', () => {
    const pair = new Pair();
    const path = pair.addPath({ delayMs: 100 });
    const stream = pair.a.open();
    pair.run(1000);
    pair.a.write(stream, pattern(20_000));
    pair.run(110);
    expect(pair.b.of(stream).bytes).toBe(20_000);
    pair.killPath(path);
    const next = pair.addPath({ delayMs: 100 });
    pair.run(1000);
    expect(pair.bytesOn(next)).toBeLessThan(1000);
    expect(pair.a.machine.stats.unacknowledgedFrames).toBe(0);
  });
});

describe('ping', () => {
  it('measures the round trip of the sending path or of one that is named', () => {
    const pair = new Pair();
    const first = pair.addPath(relay);
    pair.addPath(direct);
    pair.run(1000);
    pair.a.handle({ type: 'ping', token: 1 });
    pair.a.handle({ type: 'ping', token: 2, path: first });
    pair.run(1000);
    expect(pair.a.pongs).toMatchObject([
      { token: 1, rttMs: 20 },
      { token: 2, rttMs: 80 },
    ]);
  });

  it('is answered however many there are at once, of which few go out', () => {
    const pair = new Pair();
    const path = pair.addPath(direct);
    pair.run(1000);
    const before = pair.bytesOn(path);
    const tokens = Array.from({ length: 1000 }, (_, token) => token);
    for (const end of [pair.a, pair.b]) {
      for (const token of tokens) end.handle({ type: 'ping', token });
    }
    pair.run(1000);
    for (const { pongs } of [pair.a, pair.b]) {
      expect(pongs.map(({ token }) => token)).toEqual(tokens);
      expect(pongs.every(({ rttMs }) => rttMs === 20)).toBe(true);
    }
    expect(pair.bytesOn(path) - before).toBeLessThan(4096);
  });

  it('fails when its path goes down, or there is none', () => {
    const pair = new Pair();
    pair.a.handle({ type: 'ping', token: 1 });
    const path = pair.addPath(direct);
    pair.run(100);
    pair.a.handle({ type: 'ping', token: 2 });
    pair.killPath(path);
    expect(pair.a.pongs).toMatchObject([
      { token: 1, rttMs: undefined },
      { token: 2, rttMs: undefined },
    ]);
  });
});

function transmitted(machine: SessionMachine): Uint8Array[] {
  const bytes: Uint8Array[] = [];
  for (let output = machine.poll(); output; output = machine.poll()) {
    if (output.type === 'transmit') bytes.push(...output.chunks);
  }
  return bytes;
}
