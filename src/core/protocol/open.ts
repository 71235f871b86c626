import * as v from 'valibot';
import { decode, encode } from '../codec.ts';
import { printable } from '../remote-failure.ts';

/** What a stream is for: the first thing that its opener says (the payload of OPEN). */
export type StreamPurpose = v.InferOutput<typeof purposeSchema>;

const name = v.pipe(v.string(), v.minLength(1), v.maxLength(253));
const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535));
const anyPort = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535));
/** `sun_path` of Linux, without its final zero byte. */
const path = v.pipe(v.string(), v.startsWith('/'), v.maxLength(107));

const purposeSchema = v.variant('for', [
  /** A service by its name: exposed with one, or handled in the process. */
  v.object({ for: v.literal('service'), name }),
  /**
   * A TCP target by its address, as `-L`, `-W` and `-D` name it. With `confirm` the side that dials sends one byte
   * once it is connected, before the target's own.
   */
  v.object({ for: v.literal('target'), host: name, port, confirm: v.optional(v.boolean()) }),
  /** A Unix socket by its path. */
  v.object({ for: v.literal('socket'), path }),
  /** One flow of datagrams to a UDP service, by its name. */
  v.object({ for: v.literal('udp-service'), name }),
  /** One flow of datagrams to a UDP target. */
  v.object({ for: v.literal('udp-target'), host: name, port }),
  /** Listening on the opener's behalf for as long as the stream lives (`-R`); port 0 for a free one. */
  v.object({ for: v.literal('listen'), transport: v.picklist(['tcp', 'udp']), bind: name, port: anyPort }),
  /** A connection, or a flow of datagrams, that came in where the stream of that number had asked to listen. */
  v.object({ for: v.literal('accepted'), listener: v.pipe(v.number(), v.safeInteger()) }),
  /** The other side's standard input and output. */
  v.object({ for: v.literal('pipe') }),
  /** Sealed updates of the session itself, while a path is up. */
  v.object({ for: v.literal('updates') }),
]);

const MAX_BYTES = 1_024;

export function isServiceName(text: unknown): text is string {
  return v.is(name, text);
}

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
    case 'udp-service':
      return `${printable(purpose.name)}/udp`;
    case 'target':
      return hostPort(purpose.host, purpose.port);
    case 'udp-target':
      return `${hostPort(purpose.host, purpose.port)}/udp`;
    case 'socket':
      return printable(purpose.path);
    case 'listen':
      return `a listener on ${hostPort(purpose.bind, purpose.port)}${purpose.transport === 'udp' ? '/udp' : ''}`;
    case 'accepted':
      return 'what came in over there';
    case 'pipe':
      return 'the pipe';
    case 'updates':
      return 'updates';
  }
}

function hostPort(host: string, at: number): string {
  return printable(host.includes(':') ? `[${host}]:${at}` : `${host}:${at}`);
}
