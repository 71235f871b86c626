import { describe, expect, it } from 'vitest';
import { encodeHeader, FrameType } from '../../../src/core/session/frame.ts';
import { encodeAttachment, encodeReset, encodeWindow } from '../../../src/core/session/payload.ts';
import type { SessionOutput } from '../../../src/core/session/events.ts';
import { WindowBudget } from '../../../src/core/session/window.ts';
import { RawPeer } from './raw-peer.ts';
import { Pair, pattern } from './pair.ts';

const MIB = 1024 * 1024;

describe('streams', () => {
  it('carry bytes and their end in both directions', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 10 });
    const stream = pair.a.open('echo');
    pair.a.write(stream, pattern(100_000));
    pair.a.handle({ type: 'end', stream });
    pair.run(1000);
    expect(Buffer.from(pair.b.of(stream).header!).toString()).toBe('echo');
    expect(pair.b.bytesOf(stream).equals(pattern(100_000))).toBe(true);
    expect(pair.b.of(stream).ended).toBe(true);
    pair.b.write(stream, pattern(5000, 2));
    pair.b.handle({ type: 'end', stream });
    pair.run(1000);
    expect(pair.a.bytesOf(stream).equals(pattern(5000, 2))).toBe(true);
    expect(pair.a.of(stream).ended).toBe(true);
    expect([pair.a.machine.stats.streams, pair.b.machine.stats.streams]).toEqual([0, 0]);
  });

  it('put OPEN and the first data into the first flight, before the peer has answered', () => {
    const pair = new Pair();
    const stream = pair.a.open();
    pair.a.write(stream, Buffer.from('hello'));
    pair.addPath({ delayMs: 50 });
    pair.run(50);
    expect(pair.b.bytesOf(stream).toString()).toBe('hello');
  });

  it('numbers them odd from the initiator and even from the responder', () => {
    const pair = new Pair();
    expect([pair.a.open(), pair.a.open()]).toEqual([1, 3]);
    expect([pair.b.open(), pair.b.open()]).toEqual([2, 4]);
  });

  it('share a path fairly: a short one overtakes a long one', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 5, rate: 1000 });
    const long = pair.a.open();
    const short = pair.a.open();
    pair.run(50);
    pair.a.write(long, pattern(8 * MIB));
    pair.a.write(short, pattern(20_000));
    pair.run(60_000, () => pair.b.of(short).bytes === 20_000);
    expect(pair.b.of(short).bytes).toBe(20_000);
    expect(pair.b.of(long).bytes).toBeLessThan(MIB);
  });

  it('do not wait for one whose reader has stopped', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 5, rate: 10_000 });
    const stuck = pair.a.open();
    const other = pair.a.open();
    pair.b.stopped.add(stuck);
    pair.a.write(stuck, pattern(4 * MIB));
    pair.a.write(other, pattern(4 * MIB));
    pair.run(10_000);
    expect(pair.b.of(stuck).bytes).toBe(256 * 1024);
    expect(pair.b.of(other).bytes).toBe(4 * MIB);
    expect(pair.a.closed).toBeUndefined();
  });

  it('widen their windows until a long fast path is full', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 50, rate: 50_000 });
    const stream = pair.a.open();
    pair.a.write(stream, Buffer.alloc(200 * MIB));
    const started = pair.now;
    pair.run(60_000, () => pair.b.of(stream).bytes === 200 * MIB);
    const bytesPerMs = (200 * MIB) / (pair.now - started);
    expect(bytesPerMs).toBeGreaterThan(40_000);
  });

  it('say drained when the queue is short, and finished once the end is on its way', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 20, rate: 1000 });
    const stream = pair.a.open();
    pair.a.write(stream, pattern(2 * MIB));
    pair.a.handle({ type: 'end', stream });
    expect(pair.a.drained).toEqual([]);
    pair.run(10_000);
    expect(pair.a.drained).toEqual([stream]);
    expect(pair.a.finished).toEqual([stream]);
  });
});

describe('reset', () => {
  it('reaches the peer with code and message, and comes back, so that both forget the stream', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 10 });
    const stream = pair.a.open();
    pair.run(100);
    pair.b.handle({ type: 'reset', stream, code: 'TARGET_REFUSED', message: 'nobody listens' });
    pair.run(100);
    expect(pair.a.of(stream).reset).toMatchObject({ code: 'TARGET_REFUSED', message: 'nobody listens' });
    expect([pair.a.machine.stats.streams, pair.b.machine.stats.streams]).toEqual([0, 0]);
  });

  it('by who has not read all that came gives the credit back at once, though the peer has ended', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 1 });
    const stream = pair.a.open();
    pair.b.stopped.add(stream);
    pair.a.write(stream, pattern(100_000));
    pair.a.handle({ type: 'end', stream });
    pair.run(1000);
    expect(pair.b.machine.stats.unreadBytes).toBe(100_000);
    pair.b.handle({ type: 'reset', stream, code: 'ABORTED', message: '' });
    expect(pair.b.machine.stats.unreadBytes).toBe(0);
    pair.run(1000);
    expect([pair.a.machine.stats.streams, pair.b.machine.stats.streams]).toEqual([0, 0]);
  });

  it('gives the credit of unread bytes back to the session', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 1 });
    for (let round = 0; round < 20; round += 1) {
      const stream = pair.a.open();
      pair.b.stopped.add(stream);
      pair.a.write(stream, pattern(256 * 1024));
      pair.run(200);
      expect(pair.b.of(stream).bytes).toBe(256 * 1024);
      pair.b.handle({ type: 'reset', stream, code: 'ABORTED', message: '' });
      pair.run(200);
    }
    expect(pair.b.machine.stats.unreadBytes).toBe(0);
  });

  it('after the end leaves what was sent readable', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 10 });
    const stream = pair.a.open();
    pair.a.write(stream, pattern(1000));
    pair.a.handle({ type: 'end', stream });
    pair.run(100);
    pair.a.handle({ type: 'reset', stream, code: 'ABORTED', message: '' });
    pair.run(100);
    expect(pair.b.of(stream)).toMatchObject({ bytes: 1000, ended: true, reset: { afterEnd: true } });
  });

  it('before OPEN has left says nothing at all', () => {
    const pair = new Pair();
    const stream = pair.a.open();
    pair.a.handle({ type: 'reset', stream, code: 'ABORTED', message: '' });
    pair.addPath({ delayMs: 10 });
    pair.run(1000);
    expect(pair.b.received.size).toBe(0);
    expect(pair.a.machine.stats.streams).toBe(0);
  });
});

describe('limits', () => {
  it('refuse a stream too many on both sides', () => {
    const pair = new Pair({ limits: { streams: 2 } });
    pair.addPath();
    pair.a.open();
    pair.a.open();
    expect(() => pair.a.open()).toThrow(expect.objectContaining({ code: 'LIMIT' }));
  });

  it('reset a stream that the peer opens beyond the limit', () => {
    const raw = new RawPeer({ limits: { streams: 1 } });
    raw.send(FrameType.OPEN, 1);
    raw.send(FrameType.OPEN, 3);
    expect(raw.framesOfType(FrameType.RESET)).toEqual([3]);
    raw.send(FrameType.OPEN, 5);
    expect(raw.closed).toMatchObject({ code: 'LIMIT' });
  });

  it('keep windows of all sessions within the budget', () => {
    const budget = new WindowBudget(5 * MIB);
    const pair = new Pair({ budget });
    pair.addPath({ delayMs: 50, rate: 50_000 });
    const streams = [pair.a.open(), pair.a.open()];
    for (const stream of streams) pair.a.write(stream, Buffer.alloc(50 * MIB));
    pair.run(30_000);
    expect(pair.b.machine.stats.windowBytes).toBeGreaterThan(MIB);
    expect(budget.promised).toBeLessThanOrEqual(5 * MIB);
    pair.a.handle({ type: 'abort', code: 'ABORTED', message: '' });
    pair.run(1000);
    expect(budget.promised).toBe(0);
  });

  it('have streams that nobody reads wait for the session’s window, without an error', () => {
    const pair = new Pair({ budget: new WindowBudget(2 * MIB) }); // which leaves either end its first window
    pair.addPath({ delayMs: 1 });
    const streams = Array.from({ length: 8 }, () => pair.a.open());
    for (const stream of streams) {
      pair.b.stopped.add(stream);
      pair.a.write(stream, pattern(256 * 1024));
    }
    pair.run(10_000);
    expect(pair.b.machine.stats.unreadBytes).toBe(MIB);
    pair.b.stopped.clear();
    for (const stream of streams) pair.b.handle({ type: 'consumed', stream, bytes: pair.b.of(stream).bytes });
    pair.run(10_000);
    expect(pair.b.closed).toBeUndefined();
    expect(streams.every((stream) => pair.b.bytesOf(stream).equals(pattern(256 * 1024)))).toBe(true);
  });

  it('hand a carrier no more than it has room for, and go on as it writes', () => {
    const pair = new Pair({ limits: { pathBuffer: 24 * 1024 } });
    const path = pair.addPath({ delayMs: 10, rate: 100 });
    const stream = pair.a.open();
    pair.run(1000);
    const before = pair.bytesOn(path);
    pair.a.write(stream, pattern(MIB));
    expect(pair.bytesOn(path) - before).toBeLessThanOrEqual(24 * 1024);
    pair.run(60_000);
    expect(pair.b.of(stream).bytes).toBe(MIB);
  });

  it('hold back control frames that nobody acknowledges, without an error', () => {
    const pair = new Pair();
    const path = pair.addPath();
    pair.run(10);
    pair.blackhole(path);
    for (let count = 0; count < 4000; count += 1) pair.a.open('x'.repeat(100));
    expect(pair.a.machine.stats.unacknowledgedFrames * 116).toBeLessThan(260 * 1024);
    pair.addPath();
    pair.killPath(path);
    pair.run(1000);
    expect(pair.b.received.size).toBe(4000);
  });
});

describe('a session that ends at once', () => {
  it.each([
    ['ABORTED', 'tells the peer on a path that is closed behind what was said', true],
    ['PEER_LOST', 'waits for nothing that a lost peer would have to take', false],
  ] as const)('%s: %s', (code, _what, graceful) => {
    const pair = new Pair();
    const path = pair.addPath();
    pair.run(1_000);
    const { machine } = pair.a;
    machine.handle({ type: 'abort', code, message: '' }, pair.now);
    const outputs: SessionOutput[] = [];
    for (let output = machine.poll(); output; output = machine.poll()) outputs.push(output);
    expect(outputs).toContainEqual({ type: 'close-path', path, graceful });
    expect(outputs.some(({ type }) => type === 'transmit')).toBe(graceful);
  });
});

describe('an acknowledgement', () => {
  it('goes with what goes in any case, once enough has come, and does not wait for its interval', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 1 });
    const stream = pair.a.open();
    pair.run(100);
    pair.a.write(stream, pattern(32 * 1024));
    pair.run(2);
    expect(pair.a.machine.stats.unacknowledgedFrames).toBe(0); // the first goes at once, the next at least 5 ms later
    pair.a.write(stream, pattern(32 * 1024, 2));
    pair.run(1);
    pair.b.write(stream, Buffer.from('answer'));
    pair.run(1);
    expect(pair.a.bytesOf(stream).toString()).toBe('answer');
    expect(pair.a.machine.stats.unacknowledgedFrames).toBe(0);
  });
});

describe('datagrams', () => {
  it('go over the sending path, the oldest of more than 64 dropped', () => {
    const pair = new Pair();
    for (let index = 0; index < 70; index += 1)
      pair.a.handle({ type: 'datagram', bytes: Buffer.from([index]) });
    pair.addPath({ delayMs: 1 });
    pair.run(100);
    expect(pair.b.datagrams.map((bytes) => bytes[0])).toEqual(
      Array.from({ length: 64 }, (_, index) => index + 6),
    );
    expect(pair.a.machine.stats.datagramsDropped).toBe(6);
  });
});

describe('closing', () => {
  it('flushes what has ended, and both ends agree', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 20, rate: 500 });
    const stream = pair.a.open();
    pair.a.write(stream, pattern(MIB));
    pair.a.handle({ type: 'end', stream });
    pair.a.handle({ type: 'close' });
    pair.run(1000);
    pair.b.handle({ type: 'end', stream });
    pair.run(10_000);
    expect(pair.b.of(stream)).toMatchObject({ bytes: MIB, ended: true });
    expect(pair.a.closed).toMatchObject({ code: undefined, remote: false });
    expect(pair.b.closed).toMatchObject({ code: undefined, remote: true });
  });

  it('resets streams that have not ended, and tells why it closes', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 20 });
    const stream = pair.a.open();
    pair.run(100);
    pair.a.handle({ type: 'close', code: 'NOT_AUTHORIZED', message: 'denied' });
    pair.run(100);
    expect(pair.b.of(stream).reset).toMatchObject({ code: 'NOT_AUTHORIZED' });
    pair.run(1000);
    expect(pair.b.closed).toMatchObject({ code: 'NOT_AUTHORIZED', message: 'denied', remote: true });
  });

  it('does not wait for ever for a peer that never ends its side', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 20 });
    const stream = pair.a.open();
    pair.a.handle({ type: 'end', stream });
    pair.a.handle({ type: 'close' });
    pair.run(7000);
    expect(pair.a.closed).toBeDefined();
    expect(pair.b.closed).toBeDefined();
  });

  it('tells such a peer that it closes, however long the way', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 400 });
    const stream = pair.a.open();
    pair.a.handle({ type: 'end', stream });
    pair.a.handle({ type: 'close', code: 'NOT_AUTHORIZED', message: 'denied' });
    pair.run(10_000);
    expect(pair.a.closed).toMatchObject({ code: 'NOT_AUTHORIZED', remote: false });
    expect(pair.b.closed).toMatchObject({ code: 'NOT_AUTHORIZED', message: 'denied', remote: true });
  });

  it('from both ends at once is one clean end', () => {
    const pair = new Pair();
    pair.addPath({ delayMs: 20 });
    pair.run(100);
    pair.a.handle({ type: 'close' });
    pair.b.handle({ type: 'close' });
    pair.run(1000);
    expect([pair.a.closed, pair.b.closed]).toMatchObject([{ remote: false }, { remote: false }]);
  });

  it('survives the loss of the path in the middle', () => {
    const pair = new Pair();
    const path = pair.addPath({ delayMs: 20 });
    pair.run(100);
    pair.a.handle({ type: 'close' });
    pair.killPath(path);
    pair.addPath({ delayMs: 20 });
    pair.run(1000);
    expect([pair.a.closed, pair.b.closed]).toMatchObject([{ code: undefined }, { code: undefined }]);
  });
});

describe('a peer that breaks the protocol', () => {
  const broken: [string, (peer: RawPeer) => void][] = [
    ['acknowledges what was never sent', (peer) => peer.raw(encodeHeader(FrameType.ACK, 0, 0, 1))],
    ['leaves a gap', (peer) => peer.raw(encodeHeader(FrameType.FIN, 0, 1, 1))],
    ['skips frames by ACTIVE', (peer) => peer.raw(encodeHeader(FrameType.ACTIVE, 0, 0, 1))],
    ['opens a stream of ours', (peer) => peer.send(FrameType.OPEN, 2)],
    ['sends on a stream that it never opened', (peer) => peer.send(FrameType.DATA, 1, pattern(10))],
    [
      'opens a stream twice',
      (peer) => {
        peer.send(FrameType.OPEN, 1);
        peer.send(FrameType.OPEN, 1);
      },
    ],
    [
      'sends after its end',
      (peer) => {
        peer.send(FrameType.OPEN, 1);
        peer.send(FrameType.FIN, 1);
        peer.send(FrameType.DATA, 1, pattern(10));
      },
    ],
    [
      'sends more than the window',
      (peer) => {
        peer.send(FrameType.OPEN, 1);
        for (let sent = 0; sent <= 256 * 1024; sent += 32_768) peer.send(FrameType.DATA, 1, pattern(32_768));
      },
    ],
    [
      'resets at a wrong offset',
      (peer) => {
        peer.send(FrameType.OPEN, 1);
        peer.send(FrameType.RESET, 1, encodeReset({ finalOffset: 5, code: undefined, message: '' }));
      },
    ],
    ['grants a window to a stream that never was', (peer) => peer.send(FrameType.WINDOW, 7, encodeWindow(1))],
    ['cuts a payload short', (peer) => peer.send(FrameType.WINDOW, 0, Buffer.alloc(3))],
  ];

  it.each(broken)('and %s ends the session with PROTOCOL_ERROR', (_what, act) => {
    const peer = new RawPeer();
    act(peer);
    expect(peer.closed).toMatchObject({ code: 'PROTOCOL_ERROR', remote: false });
    expect(peer.framesOfType(FrameType.GOAWAY)).toEqual([0]);
  });

  it('may repeat frames and old acknowledgements, and use types reserved for extensions', () => {
    const peer = new RawPeer();
    peer.send(FrameType.OPEN, 1);
    peer.raw(encodeHeader(FrameType.ACTIVE, 0, 0, 0));
    peer.raw(encodeHeader(FrameType.OPEN, 0, 1, 0));
    peer.raw(encodeHeader(FrameType.ACK, 0, 0, 0));
    peer.raw(encodeHeader(0x7f, 0, 0, 99));
    expect(peer.closed).toBeUndefined();
    expect(peer.outputs.filter((output) => output.type === 'opened')).toHaveLength(1);
  });

  it.each([
    ['another session', { sessionId: Buffer.alloc(16, 1) }],
    ['another epoch', { epoch: 1 }],
    ['our own role', { role: 'responder' as const }],
  ])('by attaching to %s loses the path, not the session', (_what, changes) => {
    const pair = new Pair();
    const good = pair.addPath();
    pair.run(10);
    const bad = { id: 77, kind: 'tcp', direct: true } as const;
    pair.b.machine.handle({ type: 'path-up', path: bad }, pair.now);
    const id = Buffer.alloc(16, 7);
    const payload = encodeAttachment({ role: 'initiator', epoch: 0, sessionId: id, ...changes });
    const bytes = Buffer.concat([encodeHeader(FrameType.ATTACH, payload.length, 1, 0), payload]);
    pair.b.machine.handle({ type: 'path-bytes', path: 77, bytes }, pair.now);
    const outputs: SessionOutput[] = [];
    for (let output = pair.b.machine.poll(); output; output = pair.b.machine.poll()) outputs.push(output);
    expect(outputs).toContainEqual({ type: 'close-path', path: 77, graceful: false });
    expect(pair.b.machine.stats.paths.map((path) => path.path.id)).toEqual([good]);
  });
});
