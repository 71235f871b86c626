import { canonicalAddress, familyOfAddress, isAddress } from '../src/core/address.ts';
import { parseHostPort } from '../src/core/endpoint.ts';
import { SallyportError } from '../src/core/errors.ts';
import { hostAddresses } from '../src/net/interfaces.ts';
import { isWildcard } from '../src/net/public-url.ts';
import { stunPorts } from '../src/net/stun-ports.ts';
import type { TlsOptions } from '../src/net/tls-files.ts';
import { WILDCARD } from '../src/net/wildcard.ts';

export interface RendezvousOptions extends TlsOptions {
  /** `host:port`, port 0 for a free one. @default every address; port 443, or 80 with `insecure` */
  readonly listen?: string | undefined;
  /** The URL that peers are to use, where it has a name or another port: it goes into the join URL. */
  readonly publicUrl?: string | undefined;
  /** The address at which the outside reaches this host, where it isn't the one that `listen` names. */
  readonly publicAddress?: string | undefined;
  /** A second public address of this host, for full RFC 5780 discovery. */
  readonly altAddress?: string | undefined;
  /**
   * This host's IPv6 address for STUN, beside IPv4; `none` for IPv4 alone. @default its first public one, where
   * `listen` names no address
   */
  readonly ipv6Address?: string | undefined;
  /** The first of two STUN ports, the second follows it; 0 for two free ones. @default 3478, or 0 where `listen` has port 0 */
  readonly stunPort?: number | undefined;
  /** Whether this process relays too. @default true */
  readonly relay?: boolean | undefined;
  /** Where the join token is; made at first start. @default `join-token` in `home` */
  readonly tokenFile?: string | undefined;
  /** A token that relays have to prove instead of the join token, so that no peer can make itself a relay. */
  readonly relayTokenFile?: string | undefined;
  /** Admits every peer, and every relay that needs no token of its own, without one. */
  readonly open?: boolean | undefined;
  /** Where key and token are kept. @default SALLYPORT_HOME, or the XDG state folder */
  readonly home?: string | undefined;
  /** Aborted while it starts, it doesn't; afterwards there is `close`. */
  readonly signal?: AbortSignal | undefined;
}

const STUN_PORT = 3478;

/** Peers send STUN to these, so a name won't do. @throws SallyportError `USAGE` */
export function checkAddresses({ publicAddress, altAddress, ipv6Address }: RendezvousOptions): void {
  if (ipv6Address !== undefined && ipv6Address !== 'none' && !isIPv6(ipv6Address)) {
    throw new SallyportError(
      'USAGE',
      `--ipv6-address takes an IPv6 address, not ${JSON.stringify(ipv6Address)}`,
      {
        hint: 'or "none" for IPv4 alone',
      },
    );
  }
  for (const [option, value] of Object.entries({
    '--public-address': publicAddress,
    '--alt-address': altAddress,
  })) {
    if (value === undefined || isAddress(value)) continue;
    throw new SallyportError('USAGE', `${option} takes an IP address, not ${JSON.stringify(value)}`, {
      hint: 'a name goes into --public-url',
    });
  }
}

/** Where to bind HTTP. @throws SallyportError `USAGE` */
export function listenAt({ listen, insecure }: Pick<RendezvousOptions, 'listen' | 'insecure'>) {
  return parseHostPort(listen ?? `0.0.0.0:${insecure ? 80 : 443}`);
}

/** @throws SallyportError `USAGE` */
export function stunPortsOf(options: RendezvousOptions): readonly [number, number] {
  return stunPorts(options.stunPort ?? (listenAt(options).port === 0 ? 0 : STUN_PORT));
}

/**
 * Where to bind STUN: with a second address, both have to be named, since a wildcard would take the second too. HTTP on
 * `::` serves both families; STUN has sockets for each, these for IPv4.
 * @throws SallyportError `USAGE`
 */
export function stunAddresses(bound: string, { publicAddress, altAddress }: RendezvousOptions) {
  if (altAddress === undefined) return [bound === WILDCARD[6] ? WILDCARD[4] : bound] as const;
  const primary = isWildcard(bound) ? publicAddress : bound;
  if (primary === undefined) {
    throw new SallyportError('USAGE', '--alt-address needs to know the first address too', {
      hint: 'give --public-address, or --listen with an address of this host',
    });
  }
  if (canonicalAddress(primary) === canonicalAddress(altAddress)) {
    throw new SallyportError('USAGE', `--alt-address is the first address again, ${altAddress}`, {
      hint: 'give a second address of this host, or leave it out',
    });
  }
  return [primary, altAddress] as const;
}

/**
 * Where to bind STUN over IPv6 besides, and under which address; `undefined` where there is none, or where STUN is on
 * IPv6 alone anyway.
 */
export function stunOverIPv6(
  bound: string,
  { ipv6Address }: RendezvousOptions,
): { readonly host: string; readonly address: string } | undefined {
  if (ipv6Address === 'none') return undefined;
  if (ipv6Address !== undefined) {
    return { host: isWildcard(bound) ? WILDCARD[6] : ipv6Address, address: canonicalAddress(ipv6Address) };
  }
  if (!isWildcard(bound)) return undefined;
  const own = hostAddresses().find(({ family, scope }) => family === 6 && scope === 'public');
  return own && { host: WILDCARD[6], address: own.address };
}

function isIPv6(text: string): boolean {
  return isAddress(text) && familyOfAddress(canonicalAddress(text)) === 6;
}
