import { Packr } from 'msgpackr';
import * as v from 'valibot';
import { SallyportError } from './errors.ts';

// Plain maps only: no record extension, no cyclic references, no class revival from foreign bytes.
const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  int64AsType: 'number',
  encodeUndefinedAsNil: false,
});

/** MessagePack of a plain value; keys whose value is `undefined` are left out. */
export function encode(value: Record<string, unknown>): Uint8Array {
  return packr.pack(withoutUndefined(value));
}

/**
 * Reads MessagePack that a stranger wrote: bounded by size before it is decoded, typed by `schema` after, unknown
 * fields ignored.
 * @throws SallyportError `LIMIT` when longer than `maxBytes`, `PROTOCOL_ERROR` for anything else that doesn't fit
 */
export function decode<Schema extends v.GenericSchema>(
  schema: Schema,
  bytes: Uint8Array,
  maxBytes: number,
): v.InferOutput<Schema> {
  if (bytes.length > maxBytes) {
    throw new SallyportError('LIMIT', `message of ${bytes.length} bytes; at most ${maxBytes} are taken`);
  }
  const result = v.safeParse(schema, unpack(bytes));
  if (!result.success) {
    const issue = result.issues[0];
    throw new SallyportError(
      'PROTOCOL_ERROR',
      `malformed message: ${v.getDotPath(issue) ?? ''} ${issue.message}`,
    );
  }
  return result.output;
}

const byteString = v.custom<Uint8Array>((value) => value instanceof Uint8Array, 'expected bytes');

/** A byte string of exactly `length` bytes. */
export function bytesOf(length: number) {
  return v.pipe(
    byteString,
    v.check((bytes) => bytes.length === length, `expected ${length} bytes`),
  );
}

/** Milliseconds that a stranger wrote: finite, so that no sum, timer or signature is thrown off by them. */
export const milliseconds = v.pipe(
  v.number(),
  v.finite(),
  v.minValue(0),
  v.maxValue(Number.MAX_SAFE_INTEGER),
);

/** A byte string of at most `limit` bytes. */
export function bytesUpTo(limit: number) {
  return v.pipe(
    byteString,
    v.check((bytes) => bytes.length <= limit, `expected at most ${limit} bytes`),
  );
}

function unpack(bytes: Uint8Array): unknown {
  try {
    // A copy, so that no field shares memory with a socket's buffer, and none is a Buffer.
    return packr.unpack(Uint8Array.from(bytes));
  } catch (cause) {
    throw new SallyportError('PROTOCOL_ERROR', 'malformed message: not MessagePack', { cause });
  }
}

function withoutUndefined(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined));
}
