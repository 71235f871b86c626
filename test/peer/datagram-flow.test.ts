import { Duplex } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { utf8 } from '../../src/core/bytes.ts';
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
