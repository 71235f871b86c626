import { formatEndpoint, type Endpoint } from '../core/endpoint.ts';
import { hostAddresses } from './interfaces.ts';

/** True for `0.0.0.0` and `::`, which say where a server listens but not how to reach it. */
export function isWildcard(address: string): boolean {
  return address === '0.0.0.0' || address === '::' || address === '';
}

/** The address that others most likely reach a server on: the one given, the one bound, or this host's first, IPv4 before IPv6. */
export function reachableAddress(bound: string, given: string | undefined): string {
  if (given !== undefined) return given;
  if (!isWildcard(bound)) return bound;
  const own = hostAddresses();
  const first = own.find(({ family }) => family === 4) ?? own.find(({ scope }) => scope === 'public');
  return first?.address ?? '127.0.0.1';
}

export function urlOf(endpoint: Endpoint, secure: boolean): string {
  return new URL(`${secure ? 'https' : 'http'}://${formatEndpoint(endpoint)}`).origin;
}
