import { createHmac, timingSafeEqual } from 'node:crypto';
import { concat, uint64, utf8 } from '../bytes.ts';
import { digest, publicKeyOf, verifySignature, type Identity, type PeerId } from '../identity.ts';
import { PROTOCOL_VERSION, type NodeRole } from './rendezvous.ts';

/**
 * What a node signs to register: the deployment it means, a fresh nonce, version, role, channel
 * (docs/protocol.md, "Registration").
 */
export interface AuthContext {
  readonly deployment: PeerId;
  readonly nonce: Uint8Array;
  readonly role: NodeRole;
  /** Keying material exported from the TLS connection (RFC 9266); empty on a cleartext one. */
  readonly exporter: Uint8Array;
}

export function signAuth(identity: Identity, context: AuthContext): Uint8Array {
  return identity.sign('auth', authBytes(context));
}

export function verifyAuth(id: PeerId, signature: Uint8Array, context: AuthContext): boolean {
  return verifySignature(id, signature, 'auth', authBytes(context));
}

/** Proves the join token without sending it. */
export function tokenProof(token: string, id: PeerId, context: AuthContext): Uint8Array {
  const hmac = createHmac('sha256', utf8(token)).update('sallyport/1 join').update(publicKeyOf(id));
  return new Uint8Array(hmac.update(authBytes(context)).digest());
}

export function verifyTokenProof(
  token: string,
  proof: Uint8Array,
  id: PeerId,
  context: AuthContext,
): boolean {
  const expected = tokenProof(token, id, context);
  return proof.length === expected.length && timingSafeEqual(proof, expected);
}

/** Proves to a node that it speaks to the deployment it pinned: both fresh nonces, and the channel they came by. */
export function signChallenge(
  rendezvous: Identity,
  node: { id: PeerId; nonce: Uint8Array },
  context: AuthContext,
): Uint8Array {
  return rendezvous.sign('challenge', publicKeyOf(node.id), node.nonce, authBytes(context));
}

export function verifyChallenge(
  signature: Uint8Array,
  node: { id: PeerId; nonce: Uint8Array },
  context: AuthContext,
): boolean {
  const parts = [publicKeyOf(node.id), node.nonce, authBytes(context)];
  return verifySignature(context.deployment, signature, 'challenge', ...parts);
}

/** What the rendezvous signs when it passes an offer on: who, which session, which Noise message, when. */
export function signOffer(
  rendezvous: Identity,
  from: PeerId,
  session: Uint8Array,
  noise: Uint8Array,
  time: number,
) {
  return rendezvous.sign('offer', ...offerParts(from, session, noise, time));
}

export function verifyOffer(
  rendezvous: PeerId,
  signature: Uint8Array,
  offer: { from: PeerId; session: Uint8Array; noise: Uint8Array; time: number },
): boolean {
  const parts = offerParts(offer.from, offer.session, offer.noise, offer.time);
  return verifySignature(rendezvous, signature, 'offer', ...parts);
}

function offerParts(from: PeerId, session: Uint8Array, noise: Uint8Array, time: number): Uint8Array[] {
  return [publicKeyOf(from), session, digest(noise), uint64(time)];
}

function authBytes({ deployment, nonce, role, exporter }: AuthContext): Uint8Array {
  return concat(publicKeyOf(deployment), nonce, Uint8Array.of(PROTOCOL_VERSION), utf8(`${role}\0`), exporter);
}
