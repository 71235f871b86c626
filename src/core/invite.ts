import { fromBase32, toBase32 } from './base32.ts';
import { concat, equalBytes, utf8 } from './bytes.ts';
import { SallyportError } from './errors.ts';
import { digest, identityFromSeed, peerIdOf, publicKeyOf, verifySignature, type PeerId } from './identity.ts';
import type { HandshakeContext } from './session/handshake.ts';

/** What one peer hands to another by some other way than this network, so that each comes onto the other's allow list. */
export interface Invite {
  readonly inviter: PeerId;
  /** 16 random bytes. Who has them may become a guest of the inviter's, once. */
  readonly secret: Uint8Array;
  /** Where the two meet: origin, its key, and the join token if one is wanted there. */
  readonly rendezvous: { readonly url: string; readonly id: PeerId; readonly token?: string | undefined };
}

/** What a guest shows of an invite, inside the encrypted payload of its offer. */
export interface InviteProof {
  /** 32 bytes: which invite, by the public half of the key that follows from its secret. */
  readonly key: Uint8Array;
  /** 64 bytes, by the private half over who offers which session to whom. */
  readonly signature: Uint8Array;
}

const VERSION = 1;
const SECRET_BYTES = 16;
const CHECK_BYTES = 2;
const MARK = '#invite=';

/**
 * An invite as it is printed: the rendezvous's URL and, in its fragment, base32 in groups of eight characters of
 *
 *     version 1 | inviter 32 | secret 16 | rendezvous 32 | join token, UTF-8, n | check 2
 *
 * where check is the first bytes of the SHA-256 of URL and all before it, so that a typing error is told from a refusal.
 */
export function formatInvite({ inviter, secret, rendezvous }: Invite): string {
  const { url, id, token = '' } = rendezvous;
  const body = concat(Uint8Array.of(VERSION), publicKeyOf(inviter), secret, publicKeyOf(id), utf8(token));
  const letters = toBase32(concat(body, checkOf(url, body)));
  return `${url}${MARK}${letters.match(/.{1,8}/g)!.join('-')}`;
}

/** True for what can only be meant as an invite. */
export function looksLikeInvite(text: string): boolean {
  return text.includes(MARK);
}

/** Groups may be written together or apart, in capitals too. @throws SallyportError `URL_INVALID` */
export function parseInvite(text: string): Invite {
  const [url = '', written = ''] = text.trim().split(MARK, 2);
  const bytes = fromBase32(written.toLowerCase().replaceAll(/[-\s]/g, ''));
  const fixed = 1 + 32 + SECRET_BYTES + 32;
  if (!bytes || bytes.length < fixed + CHECK_BYTES) throw mistyped();
  const origin = url.replace(/\/$/, '');
  const body = bytes.subarray(0, -CHECK_BYTES);
  if (!equalBytes(checkOf(origin, body), bytes.subarray(-CHECK_BYTES))) throw mistyped();
  if (body[0] !== VERSION)
    throw new SallyportError('VERSION_UNSUPPORTED', 'the invite is of another version');
  const token = Buffer.from(body.subarray(fixed)).toString();
  return {
    inviter: peerIdOf(body.subarray(1, 33)),
    secret: body.slice(33, 33 + SECRET_BYTES),
    rendezvous: {
      url: origin,
      id: peerIdOf(body.subarray(33 + SECRET_BYTES, fixed)),
      ...(token && { token }),
    },
  };
}

/** What the inviter keeps of an invite: the public half of its key. Nobody can be let in with that. */
export function inviteKeyOf(secret: Uint8Array): Uint8Array {
  return keyPairOf(secret).publicKey;
}

/** The guest's proof, good for this one session between these two. */
export function proveInvite(secret: Uint8Array, context: HandshakeContext): InviteProof {
  const pair = keyPairOf(secret);
  return { key: pair.publicKey, signature: pair.sign('invite', ...boundTo(context)) };
}

/** Whether the guest has the secret that `key` follows from. Never throws. */
export function provesInvite({ key, signature }: InviteProof, context: HandshakeContext): boolean {
  return verifySignature(peerIdOf(key), signature, 'invite', ...boundTo(context));
}

function keyPairOf(secret: Uint8Array) {
  return identityFromSeed(digest(utf8('sallyport/1 invite'), secret));
}

function boundTo({ initiator, responder, rendezvous, session }: HandshakeContext): Uint8Array[] {
  return [publicKeyOf(initiator), publicKeyOf(responder), publicKeyOf(rendezvous), session];
}

function checkOf(url: string, body: Uint8Array): Uint8Array {
  return digest(utf8(url), body).subarray(0, CHECK_BYTES);
}

function mistyped(): SallyportError {
  return new SallyportError('URL_INVALID', 'this is no whole invite', {
    hint: 'copy it whole, as `peer invite` printed it',
  });
}
