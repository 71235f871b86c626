import { concat } from '../bytes.ts';
import { SallyportError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { decodeMessage, encodeMessage, type TransferMessage } from './message.ts';

/**
 * How messages and bytes of files share one stream:
 *
 *     type 1 | length 4, big endian | message (type 1) or bytes of the file that was started last (type 0)
 */
export type TransferFrame =
  | { readonly type: 'message'; readonly message: TransferMessage }
  /** A slice of what came in, not a whole frame of it: bytes aren't gathered. */
  | { readonly type: 'bytes'; readonly bytes: Uint8Array };

const BYTES = 0;
const MESSAGE = 1;
const HEADER_BYTES = 5;
/** No frame of file bytes is longer. */
export const MAX_BYTES_FRAME = 1024 * 1024;

export function messageFrame(message: TransferMessage): Uint8Array {
  const body = encodeMessage(message);
  return concat(header(MESSAGE, body.length), body);
}

/** What goes before `length` bytes of a file. */
export function bytesHeader(length: number): Uint8Array {
  return header(BYTES, length);
}

/** Cuts a stream into frames; holds no more than one message. */
export class TransferDecoder {
  #held: Uint8Array = new Uint8Array();
  #bytesLeft = 0;

  /** @throws SallyportError `PROTOCOL_ERROR`, `LIMIT` */
  *push(chunk: Uint8Array): Generator<TransferFrame> {
    let rest = this.#held.length > 0 ? concat(this.#held, chunk) : chunk;
    this.#held = new Uint8Array();
    while (rest.length > 0) {
      if (this.#bytesLeft > 0) {
        const bytes = rest.subarray(0, this.#bytesLeft);
        this.#bytesLeft -= bytes.length;
        rest = rest.subarray(bytes.length);
        yield { type: 'bytes', bytes };
        continue;
      }
      const frame = rest.length < HEADER_BYTES ? undefined : readHeader(rest);
      if (!frame || (frame.type === MESSAGE && rest.length < HEADER_BYTES + frame.length)) break;
      rest = rest.subarray(HEADER_BYTES);
      if (frame.type === BYTES) {
        this.#bytesLeft = frame.length;
      } else {
        yield { type: 'message', message: decodeMessage(rest.subarray(0, frame.length)) };
        rest = rest.subarray(frame.length);
      }
    }
    this.#held = Uint8Array.from(rest);
  }
}

function header(type: number, length: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(1, length);
  return bytes;
}

function readHeader(bytes: Uint8Array): { type: number; length: number } {
  const type = bytes[0]!;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
  if (type !== BYTES && type !== MESSAGE)
    throw new SallyportError('PROTOCOL_ERROR', 'not a frame of a transfer');
  if (length > (type === BYTES ? MAX_BYTES_FRAME : LIMITS.controlMessageBytes)) {
    throw new SallyportError('LIMIT', 'a frame of a transfer is too long');
  }
  return { type, length };
}
