import { identityFromSeed } from '../../../src/core/identity.ts';

export const deployment = identityFromSeed(new Uint8Array(32).fill(1));
export const peer = identityFromSeed(new Uint8Array(32).fill(2));
export const STUN_KEY = new Uint8Array(32).fill(3);
export const STUN_PORTS = [3478, 3479] as const;
