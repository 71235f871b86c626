import { SallyportError } from './errors.ts';
import { addressBytes, canonicalAddress, familyOfAddress, type Family } from './address.ts';

/** A transport address (RFC 8489 §2). The address is canonical text: see `canonicalAddress`. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export function familyOf(endpoint: Endpoint): Family {
  return familyOfAddress(endpoint.address);
}

/** `192.0.2.1:80` or `[2001:db8::1]:80`; the form that `parseEndpoint` reads. */
export function formatEndpoint({ address, port }: Endpoint): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Reads `1.2.3.4:80` and `[::1]:80`, addresses only. @throws SallyportError `USAGE` */
export function parseEndpoint(text: string): Endpoint {
  const { host, port } = parseHostPort(text);
  return { address: canonicalAddress(host), port };
}

/** Reads `host:port`, where the host may be a name, of at most 253 characters, or an address. @throws SallyportError `USAGE` */
export function parseHostPort(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]*)\]|([^:]{0,253})):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    throw new SallyportError('USAGE', `not an address and port: ${JSON.stringify(text)}`, {
      hint: 'write it as host:port, or [address]:port for IPv6',
    });
  }
  return { host: match[1] ?? match[2] ?? '', port };
}

export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && a.address === b.address;
}

/**
 * The endpoint as signed and hashed:
 * ```
 *  family (1: 4 or 6) | address (4 or 16) | port (2, big endian)
 * ```
 */
export function endpointBytes(endpoint: Endpoint): Uint8Array {
  const address = addressBytes(endpoint.address);
  const bytes = new Uint8Array(address.length + 3);
  bytes[0] = familyOf(endpoint);
  bytes.set(address, 1);
  bytes[address.length + 1] = endpoint.port >> 8;
  bytes[address.length + 2] = endpoint.port & 0xff;
  return bytes;
}
