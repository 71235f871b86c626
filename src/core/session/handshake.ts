import Noise from 'noise-handshake';
import curve from 'noise-curve-ed';
import { concat, utf8 } from '../bytes.ts';
import { SallyportError } from '../errors.ts';
import { peerIdOf, publicKeyOf, type Identity, type PeerId } from '../identity.ts';

/** What both ends bind the handshake to before its first byte (Noise §6, prologue). */
export interface HandshakeContext {
  readonly initiator: PeerId;
  readonly responder: PeerId;
  readonly rendezvous: PeerId;
  /** 16 bytes, chosen by the initiator. */
  readonly session: Uint8Array;
}

/** The outcome of a completed handshake: input for `SessionKeys`, never a key by itself. */
export interface HandshakeResult {
  /** k1 ‖ k2 of Noise `split()`, initiator→responder first; 64 bytes, secret. */
  readonly splitKeys: Uint8Array;
  /** Public: whoever saw the wire and knows the responder's id can compute it. */
  readonly hash: Uint8Array;
}

/**
 * Noise_IK_Ed25519_ChaChaPoly_BLAKE2b between two peers, offer and answer being its two messages.
 * Message 1 has no forward secrecy and can be replayed: it carries public mappings only (docs/protocol.md, "Introduction").
 */
export class Handshake {
  #noise: Noise;
  readonly context: HandshakeContext;
  #initiator: boolean;

  private constructor(identity: Identity, context: HandshakeContext, initiator: boolean) {
    const { publicKey, secretKey } = identity;
    this.#noise = new Noise('IK', initiator, { publicKey, secretKey }, { curve });
    this.#noise.initialise(prologue(context), initiator ? publicKeyOf(context.responder) : undefined);
    this.context = context;
    this.#initiator = initiator;
  }

  static initiator(identity: Identity, context: HandshakeContext): Handshake {
    return new Handshake(identity, context, true);
  }

  static responder(identity: Identity, context: HandshakeContext): Handshake {
    return new Handshake(identity, context, false);
  }

  /** The next message of this side, `payload` encrypted inside. */
  write(payload: Uint8Array): Uint8Array {
    return guarded(() => new Uint8Array(this.#noise.send(payload)));
  }

  /**
   * Reads the other side's next message and returns its payload. One that isn't it leaves the handshake as it was.
   * @throws SallyportError `HANDSHAKE_FAILED` on anything that isn't it, or isn't from the peer of the context
   */
  read(message: Uint8Array): Uint8Array {
    const { handshake, digest, chainingKey, key, nonce, re } = this.#noise;
    // The library changes these two in place.
    const before = { handshake: [...handshake], digest: Buffer.from(digest), chainingKey, key, nonce, re };
    let payload: Uint8Array;
    try {
      // The library zeroes parts of the buffer that it is handed, once the handshake is complete.
      payload = guarded(() => new Uint8Array(this.#noise.recv(Buffer.from(message))));
    } catch (thrown) {
      Object.assign(this.#noise, before);
      throw thrown;
    }
    const remote = this.#noise.rs;
    const expected = this.#initiator ? this.context.responder : this.context.initiator;
    if (!remote || peerIdOf(remote) !== expected) {
      throw new SallyportError(
        'HANDSHAKE_FAILED',
        'the handshake is from another peer than it was announced',
      );
    }
    return payload;
  }

  /** Once both messages have passed. */
  result(): HandshakeResult {
    const { tx, rx, hash } = this.#noise;
    if (!tx || !rx || !hash) throw new SallyportError('HANDSHAKE_FAILED', 'the handshake is not complete');
    const splitKeys = this.#initiator ? concat(tx, rx) : concat(rx, tx);
    return { splitKeys, hash: new Uint8Array(hash) };
  }
}

/** The first 32 bytes of message 1: the initiator's ephemeral key, remembered against replay. */
export function ephemeralOf(message: Uint8Array): Uint8Array {
  return message.subarray(0, 32);
}

function prologue({ initiator, responder, rendezvous, session }: HandshakeContext): Uint8Array {
  const ids = [initiator, responder, rendezvous].map(publicKeyOf);
  return Buffer.from(concat(utf8('sallyport/1'), ...ids, session));
}

/** The library throws untyped on bad points and short messages. */
function guarded<T>(step: () => T): T {
  try {
    return step();
  } catch (cause) {
    throw new SallyportError('HANDSHAKE_FAILED', 'the handshake message could not be read', { cause });
  }
}
