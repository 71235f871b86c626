import { canonicalAddress, isAddress, scopeOf } from '../src/core/address.ts';
import { SallyportError } from '../src/core/errors.ts';

/** Where a peer may have us listen (`--permit-listen`): one port, or any, on one address. */
export interface ListenPermit {
  readonly bind: string;
  /** 0 for any. */
  readonly port: number;
}

/** What a peer asks us to listen on (`-R`); port 0 for a free one. */
export interface ListenRequest {
  readonly transport: 'tcp' | 'udp';
  readonly bind: string;
  readonly port: number;
}

/** Where listeners are bound unless another address is named. */
export const LOOPBACK = '127.0.0.1';

/** `[bind:]port`, where port 0 or `any` permits any; loopback unless an address is named. @throws SallyportError `USAGE` */
export function parsePermit(text: string): ListenPermit {
  const match = /^(?:(?:\[([^\]]+)\]|([^:[\]]+)):)?(\d{1,5}|any)$/.exec(text);
  const bind = bindAddress(match?.[1] ?? match?.[2] ?? LOOPBACK);
  const port = match?.[3] === 'any' ? 0 : Number(match?.[3]);
  if (!match || bind === undefined || port > 65_535) {
    throw new SallyportError('USAGE', `not a place to listen: ${JSON.stringify(text)}`, {
      hint: 'write [bind:]port, where bind is an address of this host and port may be "any"',
    });
  }
  return { bind, port };
}

/** The request as it is to be carried out: at the very address that was compared, however it was written. */
export function permitted(
  request: ListenRequest,
  permits: readonly ListenPermit[],
): ListenRequest | undefined {
  const bind = bindAddress(request.bind);
  const isFor = (permit: ListenPermit) => permit.port === 0 || permit.port === request.port;
  if (bind === undefined || !permits.some((permit) => permit.bind === bind && isFor(permit)))
    return undefined;
  return { ...request, bind };
}

/** `localhost` is 127.0.0.1; another name is no place to listen, since it could come to mean something else. */
function bindAddress(text: string): string | undefined {
  if (text === 'localhost') return LOOPBACK;
  if (!isAddress(text)) return undefined;
  // A link-local address is none without its zone (RFC 4007 §6).
  const zone = scopeOf(text) === 'link-local' ? /%[\w.-]+$/.exec(text)?.[0] : undefined;
  return canonicalAddress(text) + (zone ?? '');
}
