import { once } from 'node:events';
import { concat, uint64 } from '../../src/core/bytes.ts';
import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import {
  BENCH_LIMITS,
  BENCH_REQUEST_BYTES,
  BENCH_SERVICE,
  decodeBenchRequest,
  encodeBenchRequest,
} from '../../src/core/protocol/bench.ts';
import { systemClock } from '../../src/net/clock.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import { Quota } from '../quota.ts';
import type { Session } from '../session.ts';
import { take } from './take.ts';

/** How much went over in how long. */
export interface Throughput {
  readonly bytes: number;
  readonly milliseconds: number;
}

/** What is on its way when the time is over may take this long. */
const GRACE_MS = 5_000;
const COUNT_BYTES = 8;

/** Incompressible is not needed: everything is encrypted on the way. */
const CHUNK = Buffer.alloc(256 * 1024);

/** The service that answers `peer bench`, bounded in time, bytes and streams. */
export class BenchService {
  readonly #streams = new Quota(BENCH_LIMITS.streamsPerPeer);

  readonly handle = (stream: SessionStream, { peer }: Session): void => {
    if (!this.#streams.take(peer)) return stream.reset('LIMIT', 'enough benchmarks are running');
    stream.once('close', () => this.#streams.giveBack(peer));
    answer(stream).catch((thrown: unknown) => {
      const { code, message } = asSallyportError(thrown);
      stream.reset(code, message);
    });
  };
}

/** How fast this end can send for a while, by what has arrived over there. */
export async function measureUp(session: Session, milliseconds: number): Promise<Throughput> {
  const stream = await begin(session, 'up', milliseconds);
  const began = systemClock.now();
  const answered = take(stream, readCount, COUNT_BYTES);
  answered.catch(() => {}); // awaited below
  await pour(stream, milliseconds);
  stream.end();
  const bytes = await answered;
  stream.resume();
  return { bytes, milliseconds: systemClock.now() - began };
}

/** How fast the other end can send for a while, by what has arrived here, in all the time that it took. */
export async function measureDown(session: Session, milliseconds: number): Promise<Throughput> {
  const stream = await begin(session, 'down', milliseconds);
  stream.end();
  const began = systemClock.now();
  const limit = began + milliseconds + GRACE_MS;
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += (chunk as Buffer).length;
    if (systemClock.now() > limit) break; // a path was lost meanwhile, or much was on its way; or it would send for ever
  }
  return { bytes, milliseconds: systemClock.now() - began };
}

async function begin(
  session: Session,
  direction: 'up' | 'down',
  milliseconds: number,
): Promise<SessionStream> {
  const stream = await session.open(BENCH_SERVICE);
  stream.write(encodeBenchRequest({ direction, milliseconds }));
  return stream;
}

async function answer(stream: SessionStream): Promise<void> {
  const deadline = systemClock.now() + BENCH_LIMITS.milliseconds + GRACE_MS;
  let head: Uint8Array = new Uint8Array();
  let bytes = 0;
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    const missing = BENCH_REQUEST_BYTES - head.length;
    const received = chunk as Buffer;
    if (missing > 0) {
      head = concat(head, received.subarray(0, missing));
      if (head.length === BENCH_REQUEST_BYTES) decodeBenchRequest(head);
    }
    bytes += Math.max(0, received.length - missing);
    if (bytes > BENCH_LIMITS.bytes || systemClock.now() > deadline)
      throw new SallyportError('LIMIT', 'the benchmark takes too long');
  }
  const { direction, milliseconds } = decodeBenchRequest(head);
  if (direction === 'up') stream.write(uint64(bytes));
  else await pour(stream, milliseconds);
  stream.end();
}

function readCount(bytes: Uint8Array): { value: number; length: number } | undefined {
  if (bytes.length < COUNT_BYTES) return undefined;
  return { value: Number(Buffer.from(bytes).readBigUInt64BE()), length: COUNT_BYTES };
}

async function pour(stream: SessionStream, milliseconds: number): Promise<void> {
  const end = systemClock.now() + milliseconds;
  let bytes = 0;
  while (systemClock.now() < end && bytes < BENCH_LIMITS.bytes && !stream.destroyed) {
    bytes += CHUNK.length;
    if (!stream.write(CHUNK)) await once(stream, 'drain');
  }
}
