declare module 'noise-handshake' {
  interface KeyPair {
    publicKey: Uint8Array;
    secretKey: Uint8Array;
  }

  /** The part of noise-handshake 4 that `session/handshake.ts` and its vectors use. */
  export default class NoiseState {
    constructor(pattern: string, initiator: boolean, staticKeypair?: KeyPair, options?: { curve?: unknown });
    /** The remote static key, once known. */
    readonly rs: Uint8Array | null;
    /** The own ephemeral key; set before the first message only by published test vectors. */
    e: KeyPair | null;
    readonly tx: Uint8Array | null;
    readonly rx: Uint8Array | null;
    readonly hash: Uint8Array | null;
    /** What a message that is read changes. */
    handshake: readonly unknown[];
    digest: Uint8Array;
    chainingKey: Uint8Array;
    key: Uint8Array | null;
    nonce: number;
    re: Uint8Array | null;
    initialise(prologue: Uint8Array, remoteStatic?: Uint8Array): void;
    send(payload: Uint8Array): Uint8Array;
    recv(message: Uint8Array): Uint8Array;
  }
}

declare module 'noise-curve-ed' {
  const curve: unknown;
  export default curve;
}
