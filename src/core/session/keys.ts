import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { base64url, concat, uint64 } from '../bytes.ts';
import { SallyportError } from '../errors.ts';
import type { HandshakeResult } from './handshake.ts';
import { otherRole, type SessionRole } from './role.ts';

/** What one end of one path needs to attach it (docs/protocol.md, "Attaching a path"). */
export interface PathKeys {
  /** 16 bytes, written first by this end. */
  readonly tagOut: Uint8Array;
  /** 16 bytes, expected first from the other end. */
  readonly tagIn: Uint8Array;
  /** 32 bytes, TLS 1.3 external PSK. */
  readonly psk: Uint8Array;
  /** The PSK's identity as it is shown in the ClientHello. */
  readonly identity: string;
}

/**
 * Every key of one epoch of a session. An epoch is one handshake; one label per use and direction, so that no key
 * serves two purposes (docs/protocol.md, "Keys").
 * ```
 *  secret = HKDF-SHA256(ikm = k1 ‖ k2, salt = handshake hash)             first epoch
 *  secret = HKDF-SHA256(ikm = k1 ‖ k2, salt = old resumption secret)      later ones
 * ```
 */
export class SessionKeys {
  readonly epoch: number;
  /** What HKDF extracts from the secret, once for all labels. */
  #extracted: Uint8Array;

  private constructor(splitKeys: Uint8Array, salt: Uint8Array, epoch: number) {
    const secret = expand(extract(salt, splitKeys), 'session', 32);
    this.#extracted = extract(NO_SALT, secret);
    this.epoch = epoch;
  }

  static first({ splitKeys, hash }: HandshakeResult): SessionKeys {
    return new SessionKeys(splitKeys, hash, 0);
  }

  /** The next epoch's keys: they need the new handshake and this epoch's secret alike. */
  next({ splitKeys }: HandshakeResult): SessionKeys {
    return new SessionKeys(splitKeys, this.#derive('resumption', 32), this.epoch + 1);
  }

  path(kind: string, role: SessionRole): PathKeys {
    return {
      tagOut: this.#derive(`tag ${kind} ${role}`, 16),
      tagIn: this.#derive(`tag ${kind} ${otherRole(role)}`, 16),
      psk: this.#derive(`tls-psk ${kind}`, 32),
      identity: base64url(this.#derive(`tls-id ${kind}`, 16)),
    };
  }

  /** MESSAGE-INTEGRITY key of the probes that `sender` sends. */
  probe(sender: SessionRole): Uint8Array {
    return this.#derive(`probe ${sender}`, 32);
  }

  /** USERNAME of the session's probes: tells sessions apart that share one UDP socket. */
  get probeUsername(): string {
    return base64url(this.#derive('probe-username', 12));
  }

  /** The udx stream ids of both ends, for the `n`th stream of this epoch. */
  udxStreamId(end: SessionRole, n: number): number {
    const bytes = this.#derive(`udx-stream ${n} ${end}`, 4);
    return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) >>> 0;
  }

  /** Seals control messages that travel through the rendezvous; the sequence number is the nonce. */
  sealer(sender: SessionRole): Sealer {
    return new Sealer(this.#derive(`trickle ${sender}`, 32));
  }

  opener(sender: SessionRole): Opener {
    return new Opener(this.#derive(`trickle ${sender}`, 32));
  }

  /** Seals datagrams that may be lost, beside the streams. */
  datagramSealer(sender: SessionRole): Sealer {
    return new Sealer(this.#derive(`datagram ${sender}`, 32));
  }

  datagramOpener(sender: SessionRole): Opener {
    return new Opener(this.#derive(`datagram ${sender}`, 32));
  }

  #derive(label: string, length: number): Uint8Array {
    return expand(this.#extracted, `sallyport/1 ${this.epoch} ${label}`, length);
  }
}

/**
 * ChaCha20-Poly1305 (RFC 8439), nonce = 0³² ‖ sequence number.
 * ```
 *  sequence 8 | ciphertext | tag 16
 * ```
 */
export class Sealer {
  #key: Uint8Array;
  #sequence = 0;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  seal(plaintext: Uint8Array): Uint8Array {
    const sequence = uint64(this.#sequence++);
    const cipher = createCipheriv('chacha20-poly1305', this.#key, nonceOf(sequence), { authTagLength: 16 });
    const sealed = cipher.update(plaintext);
    return concat(sequence, sealed, cipher.final(), cipher.getAuthTag());
  }
}

/** How far behind the newest a box may come. */
const OPENER_WINDOW = 2_048;

/** Opens what the other end's `Sealer` made. A resent box opens once only, one from far behind not at all. */
export class Opener {
  #key: Uint8Array;
  #newest = -1;
  /** Sequence numbers of the window that were opened. */
  #seen = new Set<number>();

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** `undefined` for one that was opened before, or may have been. @throws SallyportError `PROTOCOL_ERROR` */
  open(box: Uint8Array): Uint8Array | undefined {
    if (box.length < 24) throw new SallyportError('PROTOCOL_ERROR', 'sealed message too short');
    const sequence = box.subarray(0, 8);
    const plaintext = this.#decrypt(sequence, box.subarray(8, -16), box.subarray(-16));
    const number = Number(new DataView(box.buffer, box.byteOffset).getBigUint64(0));
    return this.#takeOnce(number) ? plaintext : undefined;
  }

  #takeOnce(sequence: number): boolean {
    if (this.#seen.has(sequence) || sequence <= this.#newest - OPENER_WINDOW) return false;
    this.#seen.add(sequence);
    if (sequence < this.#newest) return true;
    this.#newest = sequence;
    if (this.#seen.size >= 2 * OPENER_WINDOW) {
      for (const seen of this.#seen) if (seen <= sequence - OPENER_WINDOW) this.#seen.delete(seen);
    }
    return true;
  }

  #decrypt(sequence: Uint8Array, sealed: Uint8Array, tag: Uint8Array): Uint8Array {
    try {
      const decipher = createDecipheriv('chacha20-poly1305', this.#key, nonceOf(sequence), {
        authTagLength: 16,
      });
      decipher.setAuthTag(tag);
      return concat(decipher.update(sealed), decipher.final());
    } catch (cause) {
      throw new SallyportError('PROTOCOL_ERROR', 'sealed message does not open', { cause });
    }
  }
}

function nonceOf(sequence: Uint8Array): Uint8Array {
  return concat(new Uint8Array(4), sequence);
}

/** HKDF-Extract (RFC 5869 §2.2) with SHA-256. */
function extract(salt: Uint8Array, ikm: Uint8Array): Uint8Array {
  return createHmac('sha256', salt).update(ikm).digest();
}

/** HKDF-Expand (RFC 5869 §2.3) with SHA-256, of one block: `length` is at most 32. */
function expand(extracted: Uint8Array, info: string, length: number): Uint8Array {
  const block = createHmac('sha256', extracted).update(info).update(FIRST_BLOCK).digest();
  return new Uint8Array(block.subarray(0, length));
}

const FIRST_BLOCK = Uint8Array.of(1);
/** The same as none at all: HMAC fills it up with zeros. */
const NO_SALT = new Uint8Array(32);
