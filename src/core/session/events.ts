import type { ErrorCode } from '../errors.ts';

/** A number that the caller gives each path; never reused within a session. */
export type PathId = number;
/** Odd for streams that the session's initiator opened, even for the responder's; 0 is the session itself. */
export type StreamId = number;

/** What carries a leg of a relay circuit, in the order of preference: the sooner, the less it costs. */
export const CIRCUIT_KINDS = ['relay-h1', 'relay-h2', 'relay-ws'] as const;
export type CircuitKind = (typeof CIRCUIT_KINDS)[number];

export type PathKind = 'udp' | 'tcp' | CircuitKind;

/** What is known of a path when it is handed to the session. */
export interface PathInfo {
  readonly id: PathId;
  readonly kind: PathKind;
  readonly direct: boolean;
  readonly local?: string | undefined;
  readonly remote?: string | undefined;
  readonly technique?: string | undefined;
  readonly lan?: boolean | undefined;
  readonly ipv6?: boolean | undefined;
  /** Measured before the session had the path, such as by a connectivity check. */
  readonly rttMs?: number | undefined;
}

export type SessionInput =
  | { type: 'path-up'; path: PathInfo }
  | { type: 'path-bytes'; path: PathId; bytes: Uint8Array }
  /** So many bytes of earlier `transmit`s have left for the network. */
  | { type: 'path-written'; path: PathId; bytes: number }
  | { type: 'path-down'; path: PathId; reason: string }
  /** `stream` comes from `SessionMachine.reserveStream()`; `header` is opaque to the session. */
  | { type: 'open'; stream: StreamId; header: Uint8Array }
  /** The chunks are kept by reference until acknowledged: they must not be changed any more. */
  | { type: 'write'; stream: StreamId; chunks: readonly Uint8Array[] }
  | { type: 'end'; stream: StreamId }
  | { type: 'reset'; stream: StreamId; code: ErrorCode; message: string }
  /** The reader has taken so many bytes of the stream. */
  | { type: 'consumed'; stream: StreamId; bytes: number }
  | { type: 'datagram'; bytes: Uint8Array }
  /** Measures one round trip, on the sending path unless one is named. */
  | { type: 'ping'; token: number; path?: PathId | undefined }
  /**
   * The network has changed: each path has to show soon that it still works. Or this one alone has to, since what is sent
   * by it beside the streams gets no answer.
   */
  | { type: 'question'; path?: PathId | undefined }
  /** This end's connection to the rendezvous had died, and there is another: a circuit that was silent meanwhile is worth no more patience. */
  | { type: 'reconnected' }
  /** The other end has answered a `check` of this path. */
  | { type: 'answered'; path: PathId }
  /** How often a direct path that this end doesn't send on is used, so that NATs on it keep their mappings. */
  | { type: 'keepalive'; everyMs: number }
  /** A new handshake of this session was made; later paths must name this epoch. */
  | { type: 'epoch'; epoch: number }
  /**
   * Flush what has ended, reset what has not, say GOAWAY, and close. `ending` names streams whose writer has ended,
   * although its last bytes and the end itself were not handed over yet.
   */
  | {
      type: 'close';
      code?: ErrorCode | undefined;
      message?: string | undefined;
      ending?: ReadonlySet<StreamId>;
    }
  /** Close now; GOAWAY is sent only if it can leave at once. */
  | { type: 'abort'; code: ErrorCode; message: string };

export interface PathEvent {
  readonly path: PathInfo;
  /** `up`: confirmed by the peer; `active`: this end sends on it now; `down`: gone for good. */
  readonly state: 'up' | 'active' | 'down';
  readonly reason: string;
  readonly rttMs: number | undefined;
}

export interface SessionEnd {
  /** `undefined` where both ends agreed to close. */
  readonly code: ErrorCode | undefined;
  readonly message: string;
  /** True where the peer said so, false where this end decided. */
  readonly remote: boolean;
}

export type SessionOutput =
  | { type: 'transmit'; path: PathId; chunks: Uint8Array[]; bytes: number }
  /** `graceful`: end the carrier after what was written; otherwise destroy it. */
  | { type: 'close-path'; path: PathId; graceful: boolean }
  | { type: 'opened'; stream: StreamId; header: Uint8Array }
  | { type: 'data'; stream: StreamId; bytes: Uint8Array }
  | { type: 'ended'; stream: StreamId }
  /** `afterEnd`: the peer had already ended its side, so what it sent is complete. */
  | { type: 'reset'; stream: StreamId; code: ErrorCode; message: string; afterEnd: boolean }
  /** The stream's send queue is short again. */
  | { type: 'drained'; stream: StreamId }
  /** Everything written before `end`, and the end itself, is on its way. */
  | { type: 'finished'; stream: StreamId }
  | { type: 'path'; event: PathEvent }
  /**
   * Ask the other end, by a message that may be lost and that no lost one holds up, whether the path works both ways.
   * Only for paths by UDP.
   */
  | { type: 'check'; path: PathId }
  /** `rttMs` is undefined where the path went down first, or there was none. */
  | { type: 'pong'; token: number; path: PathId | undefined; rttMs: number | undefined }
  | { type: 'datagram'; bytes: Uint8Array }
  /** A (better) way to the peer is wanted: punch, or dial the relay. */
  | { type: 'need-path'; reason: string }
  | { type: 'closed'; end: SessionEnd };
