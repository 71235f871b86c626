import type { Endpoint } from '../endpoint.ts';
import type { Instant } from '../machine.ts';

/** What a search for ports shoots with: datagrams, or TCP dials. The search decides who aims where and when. */
export interface PortProbes {
  /** A way was found; nothing more is needed. */
  readonly isSettled: boolean;
  /** When the peer was last met, by whatever way: then the search holds its fire. */
  readonly contactAt: Instant | undefined;
  /**
   * Sends one probe. Repeated, it makes up for a lost one: a datagram again, a dial only where the last one from there
   * to there has ended.
   * @param socket 0 is the one whose mapping the peer knows; any other one is opened when first named
   * @param ttl hop limit, where the transport can limit it
   */
  spray(socket: number, to: Endpoint, now: Instant, ttl?: number): void;
}
