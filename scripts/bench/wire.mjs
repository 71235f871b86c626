/**
 * What every contender gives: one ordered byte stream between two processes.
 *
 * @typedef {object} Wire
 * @property {(bytes: Uint8Array) => boolean} write false: wait for `drained` before the next
 * @property {() => Promise<unknown>} drained
 * @property {(take: (bytes: { readonly length: number }) => void) => void} onBytes
 * @property {() => Promise<unknown>} close ends the connection that carries it
 * @property {() => Promise<Wire>} [another] one more stream of the same connection
 */
import { once } from 'node:events';

/** Where this process can be reached. */
export const HOST = process.env.BENCH_HOST ?? '127.0.0.1';

/**
 * @param {import('node:stream').Duplex} stream
 * @param {() => Promise<unknown>} [close]
 * @returns {Wire}
 */
export function wireOf(stream, close) {
  stream.on('error', () => {}); // the other end may leave first
  return {
    write: (bytes) => stream.write(bytes),
    drained: () => once(stream, 'drain'),
    onBytes: (take) => void stream.on('data', take),
    close: close ?? (() => closed(stream)),
  };
}

/** @param {import('node:stream').Duplex} stream */
async function closed(stream) {
  if (stream.destroyed) return;
  const gone = once(stream, 'close');
  stream.destroy();
  await gone;
}
