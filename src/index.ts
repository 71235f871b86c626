import { attachRelay } from '../relay/attach.ts';
import type { RendezvousOptions } from '../rendezvous/options.ts';
import { RendezvousServer } from '../rendezvous/server.ts';

// The public names, and the one place besides src/bin where the roles meet.

export { Peer } from '../peer/peer.ts';
export type {
  AcceptOptions,
  ConnectOptions,
  InviteOptions,
  PeerEvents,
  PeerOptions,
  Reconfiguration,
} from '../peer/peer.ts';
export type { Exposure } from '../peer/exposure.ts';
export type { ListenPermit } from '../peer/listen-permit.ts';
export type { Target } from '../peer/target.ts';
export type { ServiceHandler, ServiceHandler as Service } from '../peer/services/provider.ts';
export type { StreamRecord } from '../peer/services/serve.ts';
export { Session } from '../peer/session.ts';
export type { PathReport, SessionEvents, TraceEntry, WaitOptions } from '../peer/session.ts';
export type { TraceLine } from '../peer/trace.ts';
export type { Prospect } from '../peer/prospect.ts';
export type { Success } from '../peer/history.ts';
export type { Emitter } from './net/emitter.ts';
export { SessionStream, SessionStream as Stream } from './net/session-stream.ts';
export { SallyportError, ERROR_CODES } from './core/errors.ts';
export type { ErrorCode, ErrorDetails } from './core/errors.ts';
export type { Endpoint } from './core/endpoint.ts';
export type { PeerId } from './core/identity.ts';
export type {
  FamilyProfile,
  FilteringBehavior,
  MappingBehavior,
  NatProfile,
  PortAllocation,
  StrayPolicy,
  TransportProfile,
} from './core/nat/behavior.ts';
export type { StreamPurpose } from './core/protocol/open.ts';
export type { Transport } from './core/punch/candidate.ts';
export type { Obstacle, ReasonCode, TransportObstacle } from './core/punch/obstacle.ts';
export type { BirthdaySize } from './core/punch/schedule.ts';
export type { Stage, Technique } from './core/punch/stage.ts';
export type { Verdict } from './core/punch/verdict.ts';
export type { PathChoice, PathRequest } from './core/punch/situation.ts';
export type { CircuitKind, PathKind, SessionEnd, StreamId } from './core/session/events.ts';
export type { SessionRole } from './core/session/role.ts';
export type { TlsOptions } from './net/tls-files.ts';
export { RelayServer as Relay } from '../relay/server.ts';
export type { RelayEvents, RelayOptions } from '../relay/server.ts';
export type { CircuitsLimits } from '../relay/circuit-events.ts';
export type { RendezvousOptions } from '../rendezvous/options.ts';
export { VERSION } from './version.ts';

/** Introduces peers to one another, and relays for them unless told not to. */
export const Rendezvous = {
  /** @throws SallyportError `USAGE`, `CONFIG_INVALID`, `PORT_IN_USE`, `KEY_FILE_MODE`, `KEY_FILE_INVALID` */
  start: (options: RendezvousOptions): Promise<RendezvousServer> =>
    RendezvousServer.start(options, attachRelay),
};
export type Rendezvous = RendezvousServer;
