import { Duplex } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { utf8 } from '../../src/core/bytes.ts';
import { withLength } from '../../peer/length-prefixed.ts';
import { DatagramFlow } from '../../peer/services/datagram-flow.ts';
import type { SessionDatagrams } from '../../peer/session-datagrams.ts';
import { systemClock } from '../../src/net/clock.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it('a flow ends a minute after its last datagram, whichever way that went', () => {
  const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const datagrams = { take: () => () => {}, send: () => false } as unknown as SessionDatagrams;
  const flow = new DatagramFlow({
    stream: stream as SessionStream,
    clock: systemClock,
    datagrams,
    end: 'dials',
    onDatagram: () => {},
  });
  const pass = (seconds: number) => vi.advanceTimersByTime(seconds * 1_000);
  pass(59);
  flow.send(utf8('out'));
  pass(59);
  stream.emit('data', Buffer.concat([Uint8Array.of(0, 2), utf8('in')]));
  pass(59);
  expect(stream.writableEnded).toBe(false);
  pass(2);
  expect(stream.writableEnded).toBe(true);
});

it('a datagram that comes byte by byte is not copied for each', () => {
  const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const datagrams = { take: () => () => {}, send: () => false } as unknown as SessionDatagrams;
  const taken: Uint8Array[] = [];
  const onDatagram = (bytes: Uint8Array) => taken.push(bytes);
  const options = { stream: stream as SessionStream, clock: systemClock, datagrams, onDatagram };
  const flow = new DatagramFlow({ ...options, end: 'dials' });
  const bytes = withLength(Buffer.alloc(65_000, 7));
  const held = () => process.memoryUsage().arrayBuffers;
  const before = held();
  let most = 0;
  for (let at = 0; at < bytes.length; at++) {
    stream.emit('data', bytes.subarray(at, at + 1));
    if (at % 16 === 0) most = Math.max(most, held() - before);
  }
  expect(taken.map((datagram) => Buffer.alloc(65_000, 7).equals(datagram))).toEqual([true]);
  expect(most).toBeLessThan(256 * 1024);
  flow.close();
});
