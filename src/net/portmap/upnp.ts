import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  addPortMapping,
  checkSoapAnswer,
  CONFLICT,
  deletePortMapping,
  getExternalAddress,
  PERMANENT_ONLY,
  readDescription,
  readExternalAddress,
  SAME_PORT_REQUIRED,
  UpnpRefusal,
  type SoapCall,
  type WanService,
} from '../../core/portmap/igd.ts';
import type { MappingGrant, MappingRequest } from '../../core/portmap/mapping.ts';
import { readSsdpAnswer, SSDP_GROUP, SSDP_PORT, ssdpSearches } from '../../core/portmap/ssdp.ts';
import { SallyportError } from '../../core/errors.ts';
import { fetchFromGateway } from './gateway-http.ts';
import type { GatewayLink, PortMapper } from './mapper.ts';

/** The router as a UPnP Internet Gateway Device. Fails with `UNSUPPORTED`, `TIMEOUT`, `ABORTED` or `PROTOCOL_ERROR`. */
export async function findUpnp(link: GatewayLink, signal: AbortSignal): Promise<PortMapper> {
  const location = await search(link, signal);
  const { status, body } = await fetchFromGateway({ url: location, signal });
  if (status !== 200) throw new SallyportError('UNSUPPORTED', 'the router gives no UPnP description');
  return new UpnpMapper(readDescription(body, location), link.host);
}

class UpnpMapper implements PortMapper {
  readonly protocol = 'upnp';
  readonly #service: WanService;
  readonly #host: string;

  constructor(service: WanService, host: string) {
    this.#service = service;
    this.#host = host;
  }

  async map(request: MappingRequest, signal: AbortSignal): Promise<MappingGrant> {
    const address = readExternalAddress(await this.#call(getExternalAddress(this.#service), signal));
    const granted = await this.#add(request, signal);
    return {
      external: { address, port: granted.externalPort },
      // One without an end is looked after as often as it would have been with one.
      lifetimeSeconds: request.lifetimeSeconds,
    };
  }

  async unmap(request: MappingRequest, signal: AbortSignal): Promise<void> {
    await this.#call(deletePortMapping(this.#service, request), signal);
  }

  /** As asked, or as near as this router goes. */
  async #add(wanted: MappingRequest, signal: AbortSignal): Promise<MappingRequest> {
    let request = wanted;
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#call(addPortMapping(this.#service, request, this.#host), signal);
        return request;
      } catch (error) {
        const next = error instanceof UpnpRefusal ? alternativeTo(request, error) : undefined;
        if (!next || attempt === ATTEMPTS) throw error;
        request = next;
      }
    }
  }

  async #call({ action, body }: SoapCall, signal: AbortSignal): Promise<string> {
    const answer = await fetchFromGateway({ url: this.#service.control, soap: { action, body }, signal });
    checkSoapAnswer(answer.status, answer.body);
    return answer.body;
  }
}

function alternativeTo(request: MappingRequest, { number }: UpnpRefusal): MappingRequest | undefined {
  switch (number) {
    case CONFLICT:
      return { ...request, externalPort: 1_024 + ((request.externalPort + 7_919) % 64_512) };
    case SAME_PORT_REQUIRED:
      return { ...request, externalPort: request.internalPort };
    case PERMANENT_ONLY:
      return { ...request, lifetimeSeconds: 0 };
    default:
      return undefined;
  }
}

/** Asks the router, and the group that it belongs to; only the router's own answer counts. */
async function search({ gateway, host }: GatewayLink, signal: AbortSignal): Promise<URL> {
  const socket = createSocket('udp4');
  socket.unref();
  const timers: NodeJS.Timeout[] = [];
  const settled = new AbortController();
  try {
    socket.bind({ address: host, port: 0 });
    await once(socket, 'listening', { signal });
    return await new Promise<URL>((resolve, reject) => {
      socket.on('error', (cause) =>
        reject(new SallyportError('UNSUPPORTED', 'no search by UPnP', { cause })),
      );
      socket.on('message', (bytes, { address }) => {
        if (address !== gateway) return;
        try {
          resolve(readSsdpAnswer(bytes, gateway));
        } catch {
          // The next answer may be a better one.
        }
      });
      const ask = () => {
        for (const message of ssdpSearches()) {
          for (const to of [gateway, SSDP_GROUP]) socket.send(message, SSDP_PORT, to, () => {});
        }
      };
      for (const delay of SEARCHES_MS) timers.push(setTimeout(ask, delay).unref());
      const giveUp = () => reject(new SallyportError('TIMEOUT', 'no router answered by UPnP'));
      timers.push(setTimeout(giveUp, SEARCH_MS).unref());
      signal.addEventListener('abort', giveUp, { signal: settled.signal });
    });
  } catch (cause) {
    if (cause instanceof SallyportError) throw cause;
    throw new SallyportError(signal.aborted ? 'ABORTED' : 'UNSUPPORTED', 'no search by UPnP', { cause });
  } finally {
    timers.forEach(clearTimeout);
    settled.abort();
    socket.close();
  }
}

const ATTEMPTS = 4;
const SEARCHES_MS = [0, 400, 1_200];
/** Routers answer the group up to a second late (MX). */
const SEARCH_MS = 2_500;
