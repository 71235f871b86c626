import { concat, uint64 } from './bytes.ts';
import { peerIdOf, publicKeyOf, verifySignature, type Identity, type PeerId } from './identity.ts';

/** What an old key says of the one that takes its place. */
export interface Succession {
  readonly from: PeerId;
  readonly to: PeerId;
  /** Milliseconds since 1970 by the clock of its maker, for people: nothing is decided by it. */
  readonly time: number;
  /** 64 bytes, by the old key over both ids and the time. */
  readonly signature: Uint8Array;
}

/** Of a chain the newest are kept: who knows an id older than those has to be told of the new one by some other way. */
const MOST = 8;
const CONTEXT = 'succession';
/** from 32 | time 8 | signature 64 */
const BYTES = 32 + 8 + 64;

export const MAX_SUCCESSIONS_BYTES = MOST * BYTES;

/** The chain of `old`, with its own word for `to` at the end. */
export function successionsTo(to: PeerId, old: Identity, time: number): Succession[] {
  const signature = old.sign(CONTEXT, ...signedParts(old.id, to, time));
  return [...old.successions, { from: old.id, to, time, signature }].slice(-MOST);
}

/**
 * A chain as it is sent and kept, oldest first:
 *
 *     from 32 | time 8 | signature 64 | from 32 | …
 *
 * Where each leads to needs no bytes: to where the next one begins, and the last one to whoever shows the chain.
 */
export function encodeSuccessions(successions: readonly Succession[]): Uint8Array {
  return concat(
    ...successions.flatMap(({ from, time, signature }) => [publicKeyOf(from), uint64(time), signature]),
  );
}

/**
 * The chain in `bytes` that leads to `to`, every signature verified. None, where it isn't one as a whole: a part of
 * it would be somebody's word for somebody else. Never throws.
 */
export function readSuccessions(bytes: Uint8Array, to: PeerId): Succession[] {
  if (bytes.length > MAX_SUCCESSIONS_BYTES || bytes.length % BYTES !== 0) return [];
  const chain: Succession[] = [];
  let next = to;
  for (let at = bytes.length - BYTES; at >= 0; at -= BYTES) {
    const succession = readOne(bytes.slice(at, at + BYTES), next);
    const { from, time, signature } = succession;
    const isCircle = from === to || chain.some((later) => later.from === from);
    if (isCircle || !verifySignature(from, signature, CONTEXT, ...signedParts(from, next, time))) return [];
    chain.unshift(succession);
    next = from;
  }
  return chain;
}

function readOne(bytes: Uint8Array, to: PeerId): Succession {
  const from = peerIdOf(bytes.subarray(0, 32));
  const time = Number(new DataView(bytes.buffer).getBigUint64(32));
  return { from, to, time, signature: bytes.subarray(40) };
}

function signedParts(from: PeerId, to: PeerId, time: number): Uint8Array[] {
  return [publicKeyOf(from), publicKeyOf(to), uint64(time)];
}
