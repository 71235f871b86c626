import type { Endpoint } from '../endpoint.ts';
import type { Transport } from '../punch/candidate.ts';

/** The protocols by which a router can be asked for a port (RFC 6887; RFC 6886; UPnP IGD:1 and IGD:2). */
export type PortMappingProtocol = 'pcp' | 'nat-pmp' | 'upnp';

/** What a router is asked for: that its `externalPort`, or another, leads to `internalPort` of this host. */
export interface MappingRequest {
  readonly transport: Transport;
  readonly internalPort: number;
  readonly externalPort: number;
  readonly lifetimeSeconds: number;
}

/** What the router granted. What it says of its external address may be wrong, and is no proof that anything gets in. */
export interface MappingGrant {
  readonly external: Endpoint;
  readonly lifetimeSeconds: number;
}
