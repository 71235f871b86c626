import type { Endpoint } from '../endpoint.ts';
import type { Instant } from '../machine.ts';
import type { StunCredentials } from '../stun/request.ts';
import type { TransportProfile } from './behavior.ts';

/**
 * What a survey in the background needs. Surveys measure what a plan can start without, on sockets of their own that
 * have contacted nobody, once the diagnosis in the foreground is complete.
 */
export interface SurveyOptions {
  /** In the order of `DiscoveryOptions.servers`. */
  readonly servers: readonly Endpoint[];
  readonly credentials: StunCredentials | undefined;
  readonly localAddresses: readonly string[];
  /** Unpredictable bytes for transaction ids. */
  random(length: number): Uint8Array;
}

/** The part of a profile that a survey has measured. Nothing follows it. */
interface SurveyFinding {
  readonly type: 'found';
  readonly profile: Partial<TransportProfile>;
}

/** Sockets are the machine's own numbers; one is opened with its first datagram. */
export type UdpSurveyInput =
  | { readonly type: 'start' }
  | {
      readonly type: 'datagram';
      readonly socket: number;
      readonly bytes: Uint8Array;
      readonly from: Endpoint;
      /** The socket's own. */
      readonly localPort: number;
    };

export type UdpSurveyOutput =
  | { readonly type: 'send'; readonly socket: number; readonly to: Endpoint; readonly bytes: Uint8Array }
  | SurveyFinding;

export type TcpSurveyInput =
  | { readonly type: 'start' }
  | {
      readonly type: 'connected';
      readonly connection: number;
      readonly localPort: number;
      /** That this port listens as well, where it was asked to. */
      readonly isListening: boolean;
    }
  /** Ended, or never came to be. */
  | { readonly type: 'closed'; readonly connection: number }
  | { readonly type: 'data'; readonly connection: number; readonly bytes: Uint8Array };

export type TcpSurveyOutput =
  /** Dial from a free port, bound explicitly; once connected, listen on it where `listens`, and close what comes in. */
  | {
      readonly type: 'connect';
      readonly connection: number;
      readonly to: Endpoint;
      readonly listens: boolean;
    }
  | { readonly type: 'write'; readonly connection: number; readonly bytes: Uint8Array }
  | { readonly type: 'reset'; readonly connection: number }
  | SurveyFinding;

/** When something that is to be done several times is due next. */
export class Rhythm {
  readonly #times: readonly number[];
  readonly #startedAt: Instant;
  #done = 0;

  /** @param times milliseconds after `startedAt`, ascending */
  constructor(times: readonly number[], startedAt: Instant) {
    this.#times = times;
    this.#startedAt = startedAt;
  }

  get next(): Instant | undefined {
    const offset = this.#times[this.#done];
    return offset === undefined ? undefined : this.#startedAt + offset;
  }

  /** True once for each time that is due; several overdue ones become one. */
  take(now: Instant): boolean {
    if (this.next === undefined || this.next > now) return false;
    while (this.next !== undefined && this.next <= now) this.#done++;
    return true;
  }
}
