import type { Duplex } from 'node:stream';
import { concat } from '../../src/core/bytes.ts';
import { SallyportError } from '../../src/core/errors.ts';

/**
 * Reads one message from the front of a stream and leaves what follows in it.
 * @param parse the message and its length, `undefined` while it isn't complete
 * @throws SallyportError `PROTOCOL_ERROR` when the stream ends first, or `limit` bytes hold none; else the stream's own error
 */
export async function take<T>(
  stream: Duplex,
  parse: (bytes: Uint8Array) => { value: T; length: number } | undefined,
  limit: number,
): Promise<T> {
  let held: Uint8Array = new Uint8Array();
  for (;;) {
    const chunk = stream.read() as Buffer | null;
    if (chunk === null) {
      await readable(stream);
      continue;
    }
    held = concat(held, chunk);
    const parsed = parse(held);
    if (parsed) {
      if (parsed.length < held.length) stream.unshift(Buffer.from(held.subarray(parsed.length)));
      return parsed.value;
    }
    if (held.length >= limit) throw new SallyportError('PROTOCOL_ERROR', 'a message is too long');
  }
}

/** Resolves when there may be something to read. */
async function readable(stream: Duplex): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const ended = () => settle(new SallyportError('PROTOCOL_ERROR', 'the connection ended early'));
    const settle = (error?: Error) => {
      stream.off('readable', resolveReadable).off('end', ended).off('close', ended).off('error', settle);
      if (error) reject(error);
      else resolve();
    };
    const resolveReadable = () => settle();
    stream.on('readable', resolveReadable).on('end', ended).on('close', ended).on('error', settle);
    if (stream.errored) settle(stream.errored);
    else if (stream.readableEnded || stream.destroyed) ended();
  });
}
