import type { MappingGrant, MappingRequest, PortMappingProtocol } from '../../core/portmap/mapping.ts';

/** A router that answered, and the protocol it maps ports by. */
export interface PortMapper {
  readonly protocol: PortMappingProtocol;
  /**
   * Asks for a port, or for more time on one that it granted. Fails with a `SallyportError`: `UNSUPPORTED` where the
   * router refuses, `TIMEOUT`, `ABORTED`, `PROTOCOL_ERROR`.
   */
  map(request: MappingRequest, signal: AbortSignal): Promise<MappingGrant>;
  /** Gives a port back. Fails like `map`. */
  unmap(request: MappingRequest, signal: AbortSignal): Promise<void>;
}

/** Where the router is, and by which address of its own this host talks to it. */
export interface GatewayLink {
  readonly gateway: string;
  readonly host: string;
}
