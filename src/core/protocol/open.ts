import * as v from 'valibot';
import { decode, encode } from '../codec.ts';
import { printable } from '../remote-failure.ts';

/** What a stream is for: the first thing that its opener says (the payload of OPEN). */
export type StreamPurpose = v.InferOutput<typeof purposeSchema>;

const host = v.pipe(v.string(), v.minLength(1), v.maxLength(253));
const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535));

const purposeSchema = v.variant('for', [
  /** A service by its name: exposed with one, or handled in the process. */
  v.object({ for: v.literal('service'), name: v.pipe(v.string(), v.minLength(1), v.maxLength(253)) }),
  /** A TCP target by its address, as `-L` and `-W` name it. */
  v.object({ for: v.literal('target'), host, port }),
  /** The other side's standard input and output. */
  v.object({ for: v.literal('pipe') }),
  /** Sealed updates of the session itself, while a path is up. */
  v.object({ for: v.literal('updates') }),
]);

const MAX_BYTES = 1_024;

export function encodePurpose(purpose: StreamPurpose): Uint8Array {
  return encode({ ...purpose });
}

/** @throws SallyportError `LIMIT`, `PROTOCOL_ERROR` */
export function decodePurpose(bytes: Uint8Array): StreamPurpose {
  return decode(purposeSchema, bytes, MAX_BYTES);
}

/** For people and logs. */
export function purposeText(purpose: StreamPurpose): string {
  switch (purpose.for) {
    case 'service':
      return printable(purpose.name);
    case 'target':
      return printable(
        purpose.host.includes(':') ? `[${purpose.host}]:${purpose.port}` : `${purpose.host}:${purpose.port}`,
      );
    case 'pipe':
      return 'the pipe';
    case 'updates':
      return 'updates';
  }
}
