import { readFile } from 'node:fs/promises';
import { defaultGatewayIn } from '../../core/portmap/routes.ts';
import { localAddressTowards } from './exchange.ts';
import type { GatewayLink, PortMapper } from './mapper.ts';
import { findNatPmp } from './nat-pmp.ts';
import { findPcp } from './pcp.ts';
import { findUpnp } from './upnp.ts';

/**
 * The router on the way out, and how this host talks to it; `undefined` where there is none or, but on Linux, where it
 * isn't known.
 */
export async function gatewayLink(signal: AbortSignal): Promise<GatewayLink | undefined> {
  const table = await readFile('/proc/net/route', 'latin1').catch(() => '');
  const gateway = defaultGatewayIn(table);
  if (gateway === undefined) return undefined;
  return { gateway, host: await localAddressTowards(gateway, signal) };
}

/** Every protocol that the router answers by, each as soon as it does; all are asked at once. */
export async function* portMappers(link: GatewayLink, signal: AbortSignal): AsyncGenerator<PortMapper> {
  const searches = [findPcp, findNatPmp, findUpnp].map((find) => find(link, signal));
  const waiting = new Map(searches.map((search, index) => [index, outcomeOf(search, index)]));
  while (waiting.size > 0) {
    const { index, mapper } = await Promise.race(waiting.values());
    waiting.delete(index);
    if (mapper) yield mapper;
  }
}

interface Outcome {
  readonly index: number;
  readonly mapper: PortMapper | undefined;
}

/** Asking changes nothing at the router, so that what isn't used needs no undoing. */
function outcomeOf(search: Promise<PortMapper>, index: number): Promise<Outcome> {
  return search.then(
    (mapper) => ({ index, mapper }),
    () => ({ index, mapper: undefined }),
  );
}
