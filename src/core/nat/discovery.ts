import type { Endpoint } from '../endpoint.ts';
import type { StunCredentials } from '../stun/request.ts';
import type { TransportProfile } from './behavior.ts';

/** What both transports' discoveries need. */
export interface DiscoveryOptions {
  /** The primary address's two ports, then the second address's if there is one. */
  readonly servers: readonly Endpoint[];
  /** `undefined`: plain requests, for servers that know no registration. */
  readonly credentials: StunCredentials | undefined;
  /** False where the servers can't answer from elsewhere: then filtering stays unknown. @default true */
  readonly canChangeOrigin?: boolean | undefined;
  /** Addresses of this host's interfaces: a mapped address among them isn't translated. */
  readonly localAddresses: readonly string[];
  /** Unpredictable bytes for transaction ids. */
  random(length: number): Uint8Array;
}

/** Discovery's word on one transport; `complete` once nothing more is awaited or the time is up. */
export interface ProfileReport {
  readonly type: 'profile';
  readonly profile: TransportProfile;
  readonly complete: boolean;
}

/**
 * After this long the plan starts with what is known; later answers still improve the profile. 1.5 s are allowed, of
 * which a busy machine's timers take some.
 */
export const DISCOVERY_CAP_MS = 1_400;

/** How often the mapping is asked for again: it keeps it alive and its attestation, valid for 60 s, fresh. */
export const REFRESH_MS = 25_000;

/** How long silence must last after the last of several requests, once one round trip is known. */
export function patienceFor(roundTripMs: number): number {
  return Math.max(300, 3 * roundTripMs);
}

/** Emits profiles only when they say something new. */
export class ProfileReporter {
  #last = '';

  /** The report, or `undefined` where it repeats the last one. */
  report(profile: TransportProfile, complete: boolean): ProfileReport | undefined {
    const text = JSON.stringify([profile, complete]);
    if (text === this.#last) return undefined;
    this.#last = text;
    return { type: 'profile', profile, complete };
  }

  reset(): void {
    this.#last = '';
  }
}
