import { SallyportError } from '../errors.ts';

/**
 * What a stream to the service `bench` asks for, in its first bytes:
 *
 *     direction 1: 0 up, 1 down | milliseconds 4, big endian
 *
 * Up: the opener sends what it likes and ends; the answer is the number of bytes that came, 8 bytes. Down: the other
 * side sends for that time, and ends.
 */
export interface BenchRequest {
  readonly direction: 'up' | 'down';
  readonly milliseconds: number;
}

export const BENCH_REQUEST_BYTES = 5;
export const BENCH_SERVICE = 'bench';

/** What one stream may cost the side that answers, whatever is asked for. */
export const BENCH_LIMITS = { milliseconds: 30_000, bytes: 64 * 1024 ** 3, streamsPerPeer: 4 } as const;

export function encodeBenchRequest({ direction, milliseconds }: BenchRequest): Uint8Array {
  const bytes = new Uint8Array(BENCH_REQUEST_BYTES);
  bytes[0] = direction === 'up' ? 0 : 1;
  new DataView(bytes.buffer).setUint32(1, milliseconds);
  return bytes;
}

/** @throws SallyportError `PROTOCOL_ERROR`, `LIMIT` */
export function decodeBenchRequest(bytes: Uint8Array): BenchRequest {
  if (bytes.length !== BENCH_REQUEST_BYTES || bytes[0]! > 1)
    throw new SallyportError('PROTOCOL_ERROR', 'not a request for a benchmark');
  const milliseconds = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
  if (milliseconds > BENCH_LIMITS.milliseconds)
    throw new SallyportError('LIMIT', `a benchmark takes at most ${BENCH_LIMITS.milliseconds} ms`);
  return { direction: bytes[0] === 0 ? 'up' : 'down', milliseconds };
}
