import type { Family } from '../address.ts';
import type { Endpoint } from '../endpoint.ts';
import type { Instant } from '../machine.ts';
import type { NatProfile } from '../nat/behavior.ts';
import type { Candidate, Transport } from './candidate.ts';
import type { TransportObstacle } from './obstacle.ts';
import type { Technique } from './stage.ts';
import type { PathChoice } from './situation.ts';

/** Names one TCP connection: the agent names those that it asks to be dialled, the caller those that it accepts. */
export type ConnectionId = string;

/**
 * Where a dial leaves from: the port that the TCP STUN connection holds, any port, or one that the system chooses when
 * it is first named and that is used again whenever the same name comes back.
 */
export type LocalPort = 'held' | 'any' | `own-${number}`;

/** A candidate that the peer named. `attested`: the rendezvous signed that it saw the peer there, recently. */
export interface RemoteCandidate extends Candidate {
  readonly attested: boolean;
}

/** A mapping that a NAT had just made when the rendezvous saw it: the NAT's port counter stood there. Of IPv4. */
export interface PortSample {
  readonly transport: Transport;
  readonly endpoint: Endpoint;
  /** By the clock of the end that is told. */
  readonly seenAt: Instant;
}

export type PunchInput =
  /** What this end is and has; may come again as more is measured. */
  | {
      readonly type: 'local';
      readonly profile?: NatProfile | undefined;
      readonly candidates?: readonly Candidate[] | undefined;
      /** The peer is told of these by the caller. */
      readonly samples?: readonly PortSample[] | undefined;
    }
  /** What the peer says about itself; candidates are added to those known. */
  | {
      readonly type: 'remote';
      readonly profile?: NatProfile | undefined;
      readonly kinds?: readonly PathChoice[] | undefined;
      readonly candidates?: readonly RemoteCandidate[] | undefined;
      /** Attested ones only. */
      readonly samples?: readonly PortSample[] | undefined;
    }
  /** The answerer has read the offer, the offerer the answer: one low-TTL probe opens this end's filter early, and a NAT that counts its ports is asked where it stands. */
  | { readonly type: 'prime' }
  /** `at` is T0 on this end's clock; both ends are given the same `roundTripMs`, their estimate by way of the server. */
  | {
      readonly type: 'start';
      readonly at: Instant;
      readonly roundTripMs: number;
      /** The responder begins about so much later than T0, since it waits for word of the initiator's; by default both begin then. */
      readonly confirmMs?: number | undefined;
    }
  | {
      readonly type: 'datagram';
      /** 0 for the shared socket of the source's family, else one that `send` named. */
      readonly socket: number;
      readonly bytes: Uint8Array;
      readonly from: Endpoint;
    }
  /** One message that came back on the connection of a `sample`. */
  | { readonly type: 'sampled'; readonly socket: number; readonly bytes: Uint8Array }
  | {
      readonly type: 'dialed';
      readonly connection: ConnectionId;
      readonly local: Endpoint;
      readonly remote: Endpoint;
    }
  /** `code` as Node names it: ECONNREFUSED, ETIMEDOUT, EADDRNOTAVAIL… */
  | { readonly type: 'dial-failed'; readonly connection: ConnectionId; readonly code: string }
  /** A connection came in that belongs to this session (its tag said so); `held`: on the held port. */
  | {
      readonly type: 'accepted';
      readonly connection: ConnectionId;
      readonly local: Endpoint;
      readonly remote: Endpoint;
      readonly held: boolean;
    }
  /** TLS is up on this connection: it is the peer, and the search for a TCP path is over. */
  | { readonly type: 'secured'; readonly connection: ConnectionId }
  /** This connection ended before TLS was up, or was not the peer. */
  | { readonly type: 'broken'; readonly connection: ConnectionId }
  | { readonly type: 'stop' };

export interface UdpPath {
  readonly type: 'path';
  readonly transport: 'udp';
  readonly socket: number;
  readonly remote: Endpoint;
  readonly technique: Technique;
  /** Between two hosts of one site, by an address that doesn't leave it. */
  readonly lan: boolean;
  readonly roundTripMs: number | undefined;
  /** Since T0. */
  readonly elapsedMs: number;
}

export interface TcpPath {
  readonly type: 'path';
  readonly transport: 'tcp';
  readonly connection: ConnectionId;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly technique: Technique;
  readonly lan: boolean;
  readonly elapsedMs: number;
}

export type PunchOutput =
  /** Open `socket` if it is above 0 and new; 0 is the shared one of the family of `to`. `ttl`: hop limit; the system's default without it. */
  | {
      readonly type: 'send';
      readonly socket: number;
      readonly to: Endpoint;
      readonly bytes: Uint8Array;
      readonly ttl?: number | undefined;
    }
  /** Ask a TCP STUN server from a port that nothing else uses; its answer is `sampled`. No answer needs no report. */
  | { readonly type: 'sample'; readonly socket: number; readonly to: Endpoint; readonly bytes: Uint8Array }
  /** Tell the peer of this new mapping at once: its port shows where this end's NAT has got to. */
  | { readonly type: 'tell-sample'; readonly candidate: Candidate }
  /** Close every socket above 0 but this one. */
  | { readonly type: 'close-sockets'; readonly except: number | undefined }
  | {
      readonly type: 'dial';
      readonly connection: ConnectionId;
      readonly to: Endpoint;
      readonly from: LocalPort;
    }
  /** Destroy this connection, whether it is still being dialled or up. No `dial-failed` or `broken` is expected. */
  | { readonly type: 'cancel-dial'; readonly connection: ConnectionId }
  | { readonly type: 'listen-held'; readonly family: Family }
  | { readonly type: 'stop-listening'; readonly family: Family }
  /**
   * UDP: confirmed, and nominated. TCP: connected; run TLS on it and report `secured` or `broken`. The initiator is
   * given one TCP connection at a time, the responder each: the initiator decides by starting TLS.
   */
  | UdpPath
  | TcpPath
  /** Rare: the initiator nominated another pair than the one that the responder had settled on. Send there now. */
  | { readonly type: 'moved'; readonly socket: number; readonly remote: Endpoint }
  /** One line of the session's traversal trace. */
  | {
      readonly type: 'trace';
      readonly transport: Transport;
      readonly stage: Technique | 'plan';
      readonly text: string;
      /** Sent by this end in this stage so far. */
      readonly packets: number;
      /** Since T0; 0 before. */
      readonly elapsedMs: number;
    }
  | ({ readonly type: 'failed' } & TransportObstacle)
  /** Nothing more will be tried in this round. The agent still answers probes until `stop`. */
  | { readonly type: 'done' };
