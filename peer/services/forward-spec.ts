import { isAddress, scopeOf } from '../../src/core/address.ts';
import { parseHostPort } from '../../src/core/endpoint.ts';
import { SallyportError } from '../../src/core/errors.ts';
import type { StreamPurpose } from '../../src/core/protocol/open.ts';
import { LOOPBACK } from '../listen-permit.ts';
import { cutTransport, parseDialTarget, parseSocketPath, type Target } from '../target.ts';

/** Where a forward listens: a port, or a Unix socket. */
export type Place = { readonly bind: string; readonly port: number } | { readonly path: string };

/** `-L`: where to listen here, and what to open over there. */
export interface LocalSpec {
  readonly transport: 'tcp' | 'udp';
  readonly place: Place;
  readonly purpose: StreamPurpose;
}

/** `-R`: where to listen over there, and what to dial here. */
export interface RemoteSpec {
  readonly transport: 'tcp' | 'udp';
  readonly bind: string;
  readonly port: number;
  readonly target: Target;
}

/** `-D`: where SOCKS5 is spoken here. */
export interface DynamicSpec {
  readonly bind: string;
  readonly port: number;
}

/**
 * `[bind:]port:<host:port|service|/path>[/udp]` or `/path:<host:port|service|/path>`, as in ssh: `8080:127.0.0.1:80`,
 * `8080:web`, `[::1]:8080:[::1]:80`, `/run/me.sock:db`. @throws SallyportError `USAGE`
 */
export function parseLocal(text: string): LocalSpec {
  const { transport, rest } = cutTransport(text);
  const { place, target } = cutPlace(rest, LOCAL_FORM);
  if (transport === 'udp' && ('path' in place || target.startsWith('/'))) throw noForward(text, LOCAL_FORM);
  return { transport, place, purpose: purposeOf(target, transport) };
}

/** `[bind:]port:<host:port|/path>[/udp]`. @throws SallyportError `USAGE`, `UNSUPPORTED` */
export function parseRemote(text: string): RemoteSpec {
  const { transport, rest } = cutTransport(text);
  const { place, target } = cutPlace(rest, REMOTE_FORM);
  if ('path' in place) {
    throw new SallyportError('UNSUPPORTED', `the other side listens on ports only: ${text}`, {
      hint: REMOTE_FORM,
    });
  }
  if (!target.startsWith('/') && !/:\d{1,5}$/.test(target)) throw noForward(text, REMOTE_FORM);
  if (transport === 'udp' && target.startsWith('/')) throw noForward(text, REMOTE_FORM);
  return { transport, ...place, target: parseDialTarget(transport === 'udp' ? `${target}/udp` : target) };
}

/** `[bind:]port`; loopback only, since nobody has to authenticate. @throws SallyportError `USAGE` */
export function parseDynamic(text: string): DynamicSpec {
  const match = /^(?:(?:\[([^\]]*)\]|([^:]{1,253})):)?(\d{1,5})$/.exec(text);
  const [, bracketed, plain, port] = match ?? [];
  if (port === undefined || Number(port) > 65_535)
    throw new SallyportError('USAGE', `not a port for SOCKS5: ${JSON.stringify(text)}`, {
      hint: DYNAMIC_FORM,
    });
  const host = bracketed ?? plain ?? LOOPBACK;
  const bind = host === 'localhost' ? LOOPBACK : host;
  if (!isAddress(bind) || scopeOf(bind) !== 'loopback') {
    throw new SallyportError('USAGE', `SOCKS5 is spoken on loopback only: ${JSON.stringify(text)}`, {
      hint: DYNAMIC_FORM,
    });
  }
  return { bind, port: Number(port) };
}

/** What `-W` and `-L` name over there: `host:port`, `/path/of.sock`, or a service by name. @throws SallyportError `USAGE` */
export function parseTarget(text: string): StreamPurpose {
  return purposeOf(text, 'tcp');
}

export function placeText(place: Place): string {
  if ('path' in place) return place.path;
  return `${place.bind.includes(':') ? `[${place.bind}]` : place.bind}:${place.port}`;
}

function purposeOf(text: string, transport: 'tcp' | 'udp'): StreamPurpose {
  if (text.startsWith('/')) return { for: 'socket', path: parseSocketPath(text) };
  if (text !== '' && text.length <= MAX_NAME && !text.includes(':'))
    return { for: transport === 'udp' ? 'udp-service' : 'service', name: text };
  const { host, port } = parseHostPort(text);
  if (host === '' || port === 0) {
    throw new SallyportError('USAGE', `not a target: ${JSON.stringify(text)}`, {
      hint: 'write host:port, /path/of.sock or the name of a service',
    });
  }
  return { for: transport === 'udp' ? 'udp-target' : 'target', host, port };
}

/** Cuts off where to listen; what follows is where it leads. */
function cutPlace(text: string, form: string): { place: Place; target: string } {
  if (text.length > MAX_SPEC) throw noForward(text, form);
  const path = /^(\/[^:]*):(.+)$/.exec(text);
  if (path) return { place: { path: parseSocketPath(path[1]!) }, target: path[2]! };
  const match = /^(?:(?:\[([^\]]*)\]|([^:/[\]]*[^:/[\]\d][^:/[\]]*|\*)):)?(\d{1,5}):(.+)$/.exec(text);
  const [, bracketed, plain, port, target] = match ?? [];
  if (port === undefined || target === undefined || Number(port) > 65_535) throw noForward(text, form);
  return { place: { bind: bracketed ?? plain ?? LOOPBACK, port: Number(port) }, target };
}

function noForward(text: string, form: string): SallyportError {
  return new SallyportError('USAGE', `not a forward: ${JSON.stringify(text)}`, { hint: form });
}

/** Of a service, on the wire. */
const MAX_NAME = 253;
/** Two names or paths and a port are never longer. */
const MAX_SPEC = 600;
const DYNAMIC_FORM =
  'write [bind:]port, where bind is 127.0.0.1 or [::1]: whoever reaches it needs no password';
const LOCAL_FORM =
  'write [bind:]port:host:port, [bind:]port:service or [bind:]port:/path, /udp after it for datagrams';
const REMOTE_FORM = 'write [bind:]port:host:port or [bind:]port:/path, /udp after it for datagrams';
