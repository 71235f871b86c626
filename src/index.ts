import { attachRelay } from '../relay/attach.ts';
import type { RendezvousOptions } from '../rendezvous/options.ts';
import { RendezvousServer } from '../rendezvous/server.ts';

// The public names, and the one place besides src/bin where the roles meet.

export { Peer } from '../peer/peer.ts';
export type { AcceptOptions, ConnectOptions, PeerEvents, PeerOptions } from '../peer/peer.ts';
export type { ServiceHandler, ServiceHandler as Service } from '../peer/services/provider.ts';
export type { StreamRecord } from '../peer/services/serve.ts';
export { Session } from '../peer/session.ts';
export type { PathReport, SessionEvents, TraceEntry } from '../peer/session.ts';
export type { Prospect } from '../peer/prospect.ts';
export { SessionStream, SessionStream as Stream } from './net/session-stream.ts';
export { SallyportError, ERROR_CODES } from './core/errors.ts';
export type { ErrorCode } from './core/errors.ts';
export type { PeerId } from './core/identity.ts';
export type { NatProfile, TransportProfile } from './core/nat/behavior.ts';
export type { ReasonCode, TransportObstacle } from './core/punch/obstacle.ts';
export type { Verdict } from './core/punch/verdict.ts';
export type { PathRequest } from './core/punch/situation.ts';
export type { PathKind, SessionEnd } from './core/session/events.ts';
export { RelayServer as Relay } from '../relay/server.ts';
export type { RelayOptions } from '../relay/server.ts';
export type { RendezvousOptions } from '../rendezvous/options.ts';
export { VERSION } from './version.ts';

/** Introduces peers to one another, and relays for them unless told not to. */
export const Rendezvous = {
  /** @throws SallyportError `USAGE`, `CONFIG_INVALID`, `PORT_IN_USE`, `KEY_FILE_MODE`, `KEY_FILE_INVALID` */
  start: (options: RendezvousOptions): Promise<RendezvousServer> =>
    RendezvousServer.start(options, attachRelay),
};
export type Rendezvous = RendezvousServer;
