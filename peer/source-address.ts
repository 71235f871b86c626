import { familyOf, type Endpoint } from '../src/core/endpoint.ts';
import { localAddressTowards } from '../src/net/portmap/exchange.ts';

/** The address of this host that packets to the first of these servers over IPv4 leave from; `undefined` where none do. */
export async function sourceTowards(
  servers: readonly Endpoint[],
  signal: AbortSignal,
): Promise<string | undefined> {
  const server = servers.find((each) => familyOf(each) === 4);
  return server && localAddressTowards(server.address, signal).catch(() => undefined);
}
