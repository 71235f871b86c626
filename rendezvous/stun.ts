import type { Endpoint } from '../src/core/endpoint.ts';
import { StunServer, type StunServerOptions } from '../src/net/stun-server.ts';
import { stunAddresses, stunOverIPv6, stunPortsOf, type RendezvousOptions } from './options.ts';

/** STUN on one or both families; the endpoints of the first family come first. */
export interface RendezvousStun {
  readonly udp: readonly Endpoint[];
  readonly tcp: readonly Endpoint[];
  close(): Promise<void>;
}

type Common = Pick<StunServerOptions, 'deployment' | 'lookup' | 'now'>;

/**
 * STUN on the address that HTTP is bound to, and over IPv6 where this host has it: what isn't translated there still
 * has to be seen and attested, so that firewalls on both sides can be opened at the same moment.
 * @param bound the address of HTTP
 * @throws SallyportError `PORT_IN_USE`, `USAGE`
 */
export async function startStun(
  options: RendezvousOptions,
  bound: string,
  common: Common,
): Promise<RendezvousStun> {
  const over6 = stunOverIPv6(bound, options);
  const first = await StunServer.start({
    ...common,
    addresses: stunAddresses(bound, options),
    ports: stunPortsOf(options),
    publicAddress: options.publicAddress,
    alternateAddress: options.altAddress,
  });
  if (!over6) return first;
  const more = {
    ...common,
    addresses: [over6.host] as const,
    ports: stunPortsOf(options),
    publicAddress: over6.address,
  };
  try {
    const second = await StunServer.start(more);
    return {
      udp: [...first.udp, ...second.udp],
      tcp: [...first.tcp, ...second.tcp],
      close: async () => void (await Promise.all([first.close(), second.close()])),
    };
  } catch (error) {
    // Nobody asked for it: a port that is taken on IPv6 alone is no reason not to start.
    if (options.ipv6Address === undefined) return first;
    await first.close();
    throw error;
  }
}
