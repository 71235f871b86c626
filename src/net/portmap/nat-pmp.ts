import type { MappingGrant, MappingRequest } from '../../core/portmap/mapping.ts';
import {
  decodeNatPmpResponse,
  encodeNatPmpAddressRequest,
  encodeNatPmpMappingRequest,
} from '../../core/portmap/nat-pmp.ts';
import { exchange } from './exchange.ts';
import type { GatewayLink, PortMapper } from './mapper.ts';

const NAT_PMP_PORT = 5351;

/** The router as a NAT-PMP server (RFC 6886). Fails like `exchange` where it is none. */
export async function findNatPmp(link: GatewayLink, signal: AbortSignal): Promise<PortMapper> {
  const mapper = new NatPmpMapper(link.gateway);
  await mapper.externalAddress(signal);
  return mapper;
}

class NatPmpMapper implements PortMapper {
  readonly protocol = 'nat-pmp';
  readonly #gateway: string;

  constructor(gateway: string) {
    this.#gateway = gateway;
  }

  async map(request: MappingRequest, signal: AbortSignal): Promise<MappingGrant> {
    const [address, { port, lifetimeSeconds }] = await Promise.all([
      this.externalAddress(signal),
      this.#mapping(request, signal),
    ]);
    return { external: { address, port }, lifetimeSeconds };
  }

  async unmap(request: MappingRequest, signal: AbortSignal): Promise<void> {
    await this.#mapping({ ...request, lifetimeSeconds: 0 }, signal);
  }

  externalAddress(signal: AbortSignal): Promise<string> {
    const read = (bytes: Uint8Array) => {
      const response = decodeNatPmpResponse(bytes);
      return response.type === 'address' ? response.address : undefined;
    };
    const request = encodeNatPmpAddressRequest();
    return exchange({ gateway: this.#gateway, port: NAT_PMP_PORT, request, read, signal });
  }

  #mapping(mapping: MappingRequest, signal: AbortSignal): Promise<{ port: number; lifetimeSeconds: number }> {
    const read = (bytes: Uint8Array) => {
      const response = decodeNatPmpResponse(bytes);
      const isOurs =
        response.type === 'mapping' &&
        response.transport === mapping.transport &&
        response.internalPort === mapping.internalPort;
      if (!isOurs) return undefined;
      return { port: response.externalPort, lifetimeSeconds: response.lifetimeSeconds };
    };
    const request = encodeNatPmpMappingRequest(mapping);
    return exchange({ gateway: this.#gateway, port: NAT_PMP_PORT, request, read, signal });
  }
}
