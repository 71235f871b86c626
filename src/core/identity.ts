import { createHash } from 'node:crypto';
import sodium from 'sodium-native';
import { fromBase32, toBase32 } from './base32.ts';
import { SallyportError } from './errors.ts';
import type { Succession } from './succession.ts';

declare const peerIdBrand: unique symbol;

/** An Ed25519 public key, base32 lower case without padding: 52 characters. The identity, everywhere. */
export type PeerId = string & { readonly [peerIdBrand]: true };

/** An Ed25519 key pair (RFC 8032) of a peer, a rendezvous or a relay. */
export interface Identity {
  readonly id: PeerId;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes, seed ‖ public key, as libsodium and the Noise library hold it. */
  readonly secretKey: Uint8Array;
  /** How it came from earlier keys, oldest first; none for a key that took no other's place. */
  readonly successions: readonly Succession[];
  /** A 64-byte signature over `message`; every caller separates its domain by `context`. */
  sign(context: string, ...message: Uint8Array[]): Uint8Array;
}

const PUBLIC_KEY_BYTES = 32;
const SECRET_KEY_BYTES = 64;
const SIGNATURE_BYTES = 64;

/** The key pair that follows from 32 secret random bytes. */
export function identityFromSeed(seed: Uint8Array, successions: readonly Succession[] = []): Identity {
  const publicKey = new Uint8Array(PUBLIC_KEY_BYTES);
  const secretKey = new Uint8Array(SECRET_KEY_BYTES);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
  return {
    id: peerIdOf(publicKey),
    publicKey,
    secretKey,
    successions,
    sign(context, ...message) {
      const signature = new Uint8Array(SIGNATURE_BYTES);
      sodium.crypto_sign_detached(signature, signedBytes(context, message), secretKey);
      return signature;
    },
  };
}

export function peerIdOf(publicKey: Uint8Array): PeerId {
  return toBase32(publicKey) as PeerId;
}

/** @throws SallyportError `USAGE` when `text` is not a PeerId */
export function parsePeerId(text: string): PeerId {
  const bytes = fromBase32(text);
  if (bytes?.length !== 32) {
    throw new SallyportError('USAGE', `not a peer id: ${JSON.stringify(text.slice(0, 80))}`, {
      hint: 'a peer id has 52 characters (a–z, 2–7); `peer id` prints it',
    });
  }
  return text as PeerId;
}

export function isPeerId(text: string): text is PeerId {
  return fromBase32(text)?.length === 32;
}

/** The 32 bytes of the public key that the id is. */
export function publicKeyOf(id: PeerId): Uint8Array {
  const bytes = fromBase32(id);
  if (!bytes) throw new SallyportError('USAGE', `not a peer id: ${id}`);
  return bytes;
}

/** True when `signature` is `id`'s over `context` and `message`. Never throws. */
export function verifySignature(
  id: PeerId,
  signature: Uint8Array,
  context: string,
  ...message: Uint8Array[]
): boolean {
  try {
    return sodium.crypto_sign_verify_detached(signature, signedBytes(context, message), publicKeyOf(id));
  } catch {
    return false;
  }
}

/** SHA-256, for binding what is too long to sign or compare whole. */
export function digest(...parts: Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** `context ‖ 0 ‖ length of part ‖ part …`: no two lists of parts share their signed bytes. */
function signedBytes(context: string, message: Uint8Array[]): Buffer {
  const parts: Uint8Array[] = [Buffer.from(`sallyport/1 ${context}\0`)];
  for (const part of message) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    parts.push(length, part);
  }
  return Buffer.concat(parts);
}
