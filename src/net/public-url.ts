import { formatEndpoint, type Endpoint } from '../core/endpoint.ts';
import { SallyportError } from '../core/errors.ts';
import { parseRendezvousUrl } from '../core/rendezvous-url.ts';
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

/**
 * The origin in `--public-url`. Peers bind their proofs to the TLS connection, so nothing in front of a server may open or add TLS.
 * @throws SallyportError `URL_INVALID`; `USAGE` where its scheme isn't what the server speaks
 */
export function publicOrigin(publicUrl: string, secure: boolean): string {
  const { url } = parseRendezvousUrl(publicUrl);
  if (url.startsWith('https:') === secure) return url;
  const speaks = secure ? 'with a TLS certificate' : 'with --insecure';
  throw new SallyportError('USAGE', `a server ${speaks} can't be reached by ${url}`, {
    hint: `--public-url has to begin with ${secure ? 'https' : 'http'}://; nothing in front of it may open TLS`,
  });
}
