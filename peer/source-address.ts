import type { Family } from '../src/core/address.ts';
import { familyOf, type Endpoint } from '../src/core/endpoint.ts';
import { localAddressTowards } from '../src/net/portmap/exchange.ts';

/** The address of this host that packets to the first of these servers over this family leave from; `undefined` where none do. */
export async function sourceTowards(
  servers: readonly Endpoint[],
  signal: AbortSignal,
  family: Family = 4,
): Promise<string | undefined> {
  const server = servers.find((each) => familyOf(each) === family);
  return server && localAddressTowards(server.address, signal).catch(() => undefined);
}
