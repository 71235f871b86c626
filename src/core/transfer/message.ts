import * as v from 'valibot';
import { bytesOf, decode, encode, milliseconds } from '../codec.ts';
import { LIMITS } from '../limits.ts';
import { MAX_PATH_NAMES } from './name.ts';

/**
 * What the two ends of a file transfer tell one another (docs/protocol.md, "Files"). The sender names one entry after
 * the other, several ahead of what it sends; the receiver answers each in turn.
 */

const index = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER));
const size = index;
const sha256 = bytesOf(32);
const path = v.pipe(
  v.array(v.pipe(v.string(), v.maxLength(1_024))),
  v.minLength(1),
  v.maxLength(MAX_PATH_NAMES),
);
const text = v.pipe(v.string(), v.maxLength(1_024));

const messageSchema = v.variant('t', [
  /** Sender: something to be had. `mode` is its permissions, `modified` its time in milliseconds since 1970. */
  v.object({
    t: v.literal('entry'),
    index,
    path,
    kind: v.picklist(['file', 'folder']),
    size,
    mode: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0o777)),
    modified: milliseconds,
  }),
  /** Receiver: so many bytes of it are here already from an earlier attempt of this sender, with this hash. */
  v.object({ t: v.literal('have'), index, offset: size, sha256 }),
  /** Receiver: a file of that size has the name already. Its hash isn't told: who doesn't have it is not to learn of it. */
  v.object({ t: v.literal('exists'), index }),
  /** Sender: the hash of the whole file; answered by `saved` where that is the one that exists, else by `failed`. */
  v.object({ t: v.literal('compare'), index, sha256 }),
  /** Sender: its bytes follow, from this offset. */
  v.object({ t: v.literal('start'), index, offset: size }),
  /** Sender: those were all, and the hash of the whole file. */
  v.object({ t: v.literal('end'), index, sha256 }),
  /** Sender: no more of it. */
  v.object({ t: v.literal('skip'), index }),
  /** Receiver: verified, and under its final name. */
  v.object({ t: v.literal('saved'), index }),
  /** Receiver: not to be had here. */
  v.object({ t: v.literal('failed'), index, code: text, message: text }),
  /** Sender: there are no more entries. Receiver: all is in place. */
  v.object({ t: v.literal('finish') }),
]);

export type TransferMessage = v.InferOutput<typeof messageSchema>;
export type TransferMessageOf<Name extends TransferMessage['t']> = Extract<TransferMessage, { t: Name }>;

export function encodeMessage(message: TransferMessage): Uint8Array {
  return encode({ ...message });
}

/** @throws SallyportError `PROTOCOL_ERROR`, `LIMIT` */
export function decodeMessage(bytes: Uint8Array): TransferMessage {
  return decode(messageSchema, bytes, LIMITS.controlMessageBytes);
}
