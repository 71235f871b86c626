import { randomBytes } from 'node:crypto';
import type { MappingGrant, MappingRequest } from '../../core/portmap/mapping.ts';
import {
  checkPcpAnnounce,
  decodePcpMapResponse,
  encodePcpAnnounce,
  encodePcpMapRequest,
} from '../../core/portmap/pcp.ts';
import { exchange } from './exchange.ts';
import type { GatewayLink, PortMapper } from './mapper.ts';

const PCP_PORT = 5351;

/** The router as a PCP server (RFC 6887). Fails like `exchange` where it is none. */
export async function findPcp(link: GatewayLink, signal: AbortSignal): Promise<PortMapper> {
  await exchange({
    gateway: link.gateway,
    port: PCP_PORT,
    request: encodePcpAnnounce(link.host),
    read: (bytes) => (checkPcpAnnounce(bytes), true),
    signal,
  });
  return new PcpMapper(link);
}

class PcpMapper implements PortMapper {
  readonly protocol = 'pcp';
  readonly #link: GatewayLink;
  readonly #nonce = new Uint8Array(randomBytes(12));

  constructor(link: GatewayLink) {
    this.#link = link;
  }

  map(mapping: MappingRequest, signal: AbortSignal): Promise<MappingGrant> {
    const request = { ...mapping, clientAddress: this.#link.host, nonce: this.#nonce };
    return exchange({
      gateway: this.#link.gateway,
      port: PCP_PORT,
      request: encodePcpMapRequest(request),
      read: (bytes) => decodePcpMapResponse(bytes, request),
      signal,
    });
  }

  async unmap(mapping: MappingRequest, signal: AbortSignal): Promise<void> {
    await this.map({ ...mapping, lifetimeSeconds: 0 }, signal);
  }
}
