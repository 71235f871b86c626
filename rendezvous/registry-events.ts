import type { Endpoint } from '../src/core/endpoint.ts';
import type { SallyportError } from '../src/core/errors.ts';
import type { Identity, PeerId } from '../src/core/identity.ts';
import type { NodeRole, ToNode, ToRendezvous } from '../src/core/protocol/rendezvous.ts';

/** One signalling connection, numbered by whoever accepted it. */
export type ConnectionId = number;

/** Where a connection came from and what its channel can prove. */
export interface Arrival {
  readonly observed: Endpoint;
  /** Keying material of the TLS connection; empty on a cleartext one. */
  readonly exporter: Uint8Array;
}

export type RegistryInput =
  | { readonly type: 'connected'; readonly connection: ConnectionId; readonly arrival: Arrival }
  | { readonly type: 'message'; readonly connection: ConnectionId; readonly message: ToRendezvous }
  /** The node's process answered a `probe`. */
  | { readonly type: 'alive'; readonly connection: ConnectionId }
  /** The connection was closed from afar: evidence, unlike silence, that the process behind it is gone. */
  | { readonly type: 'disconnected'; readonly connection: ConnectionId }
  /** The node has given up the connection, as dead, and said so: it lives. */
  | { readonly type: 'abandoned'; readonly connection: ConnectionId }
  /** We ended the connection ourselves, for what it sent or because it didn't read. */
  | { readonly type: 'rejected'; readonly connection: ConnectionId }
  | { readonly type: 'drain' };

export type RegistryOutput =
  | { readonly type: 'send'; readonly connection: ConnectionId; readonly message: ToNode }
  /** Close it after what was sent has left; nothing more comes from it. `error` was sent, if there is one. */
  | { readonly type: 'close'; readonly connection: ConnectionId; readonly error?: SallyportError }
  /** Ask for a sign of life below the protocol (a WebSocket ping), answered by `alive`. */
  | { readonly type: 'probe'; readonly connection: ConnectionId }
  | { readonly type: 'joined' | 'left'; readonly id: PeerId; readonly role: NodeRole };

/** A relay that tickets are issued for. */
interface RelayListing {
  readonly id: PeerId;
  /** Empty when it stands at the rendezvous's own URL. */
  readonly url: string;
  readonly stunUdp: readonly Endpoint[];
  readonly stunTcp: readonly Endpoint[];
}

export interface RegistryOptions {
  readonly deployment: Identity;
  /** The join token every node proves; `undefined` admits everyone. */
  readonly token: string | undefined;
  /** What relays prove instead, where they have a token of their own. */
  readonly relayToken?: string | undefined;
  /** Our own STUN servers as the nodes shall see them; address `''` stands for the host of our URL. */
  readonly stun: { readonly udp: readonly Endpoint[]; readonly tcp: readonly Endpoint[] };
  /** The relay in this process, if there is one. */
  readonly builtInRelay?: RelayListing | undefined;
  /** Secret random bytes; a test hands in predictable ones. */
  readonly random: (length: number) => Uint8Array;
}
